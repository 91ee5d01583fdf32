"""Clips that stay decoded give the frames that decoding them again gives, and are decoded once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_tuning
from quick_runs import files

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.training.finetune import kept
from ta2n.pipeline.training.finetune.frames import ClipFrames
from ta2n.pipeline.training.finetune.kept import bytes_of, kept_clips
from ta2n.pipeline.videos.decode import DecodeJob
from ta2n.pipeline.videos.pool import DecodePool

ROWS = np.array([3, 0, 7])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny_tuning.registered():
        yield tiny_tuning.made(tmp_path_factory.mktemp("tuning"))


@pytest.mark.parametrize("where", ["ram", "disk"])
def test_they_are_decoded_once_and_give_the_same_frames(
    folder: Path, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache.open(folder / "feats")
    clips, notes = kept_clips(where, cache, ROWS, (32, 36), Scratch(tmp_path))
    place = "memory" if where == "ram" else str(tmp_path)
    assert notes == [f"keeping all frames of 3 clips takes 62.2 kB in {place}"]
    decoded: list[str] = []
    mapped = DecodePool.map
    monkeypatch.setattr(DecodePool, "map", lambda self, jobs: mapped(self, _seen(jobs, decoded)))
    with DecodePool(workers=1) as pool:
        plain, keeping = (
            ClipFrames(cache, folder / "clips", frames=3, pool=pool, seed=5, kept=one) for one in (None, clips)
        )
        for item in (0, 1, 2):
            found = list(keeping.random(ROWS, item))
            assert len(decoded) == 3
            expected = list(plain.random(ROWS, item))
            assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
            decoded[:] = decoded[:3]
        found, expected = list(keeping.test(ROWS)), list(plain.test(ROWS))
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    assert list(tmp_path.iterdir()) == []


def _seen(jobs: Iterator[DecodeJob], decoded: list[str]) -> Iterator[DecodeJob]:
    for job in jobs:
        decoded.append(job.clip_id)
        yield job


def test_a_run_is_the_same_to_the_byte(folder: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    tiny_tuning.tune(folder, tmp_path / "a" / "run")
    tiny_tuning.tune(folder, tmp_path / "b" / "run", keep_frames="ram", on_note=notes.append)
    assert files(tmp_path / "a" / "run") == files(tmp_path / "b" / "run")
    assert notes[0].startswith("keeping all frames of 24 clips takes ")


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "free_bytes", lambda device: 1000)
    with pytest.raises(InputError, match=r"--keep-frames ram: all frames of 24 clips take .* in memory; leave it out"):
        tiny_tuning.tune(folder, tmp_path / "run", keep_frames="ram")
    assert not (tmp_path / "run").exists()


def test_the_size_of_clips_that_keep_their_aspect_is_taken_for_a_wide_one(folder: Path) -> None:
    cache = FeatureCache.open(folder / "feats")
    assert bytes_of(cache, ROWS, (32, 36)) == 3 * 32 * 36 * 18
    assert bytes_of(cache, ROWS, 32) == 3 * 32 * 57 * 18
