"""A short sample of two at once."""

from _processes import Ended
from _sample import run_sample
from writers import _wrong


def test_a_few_pairs_of_commands() -> None:
    found = run_sample("writers.py", "--count", "3", "--seed", "2", "--kinds", "train-head,export,import")
    assert found.splitlines()[-1].split() == ["in", "all", "3", "3", "0"]


def test_what_is_no_refusal_is_seen() -> None:
    well = Ended(0, "", "a note\n")
    refused = Ended(2, "", "a note\nerror: x.zarr: ta2n extract (process 7 on host, since 0) is writing there\n")
    assert _wrong([well, well], [7, 8]) == ""
    assert _wrong([well, refused], [7, 8]) == ""
    assert "without the holder's name" in _wrong([well, refused], [6, 8])
    assert "without the holder's name" in _wrong([Ended(1, "", refused.stderr), well], [6, 7])
    assert "both failed" in _wrong([refused, refused], [7, 7])
