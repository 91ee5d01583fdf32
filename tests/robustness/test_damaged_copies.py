"""A short sample of damaged copies; every kind of damage does what it says; and bad outcomes are seen."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_cache
from _damage import PLAIN, TABLE, Damage, edit, edit_json, swap_files
from _episode_edits import EDITS, edit_signed
from _sample import run_sample
from damaged_copies import Outcome, _wrong

SOUND = Outcome("evaluate", 0, [0.5], ())


def test_a_few_damaged_copies() -> None:
    found = run_sample("damaged_copies.py", "--count", "12", "--seed", "0")
    assert found.splitlines()[-1].split() == ["in", "all", "12", "12", "0"]


@pytest.mark.parametrize(
    ("code", "numbers", "errors", "found"),
    [
        (0, [0.5], (), ""),
        (0, [0.6], (), "other numbers: [0.6], not [0.5]"),
        (2, None, ("error: /copy/x.h5: is damaged",), ""),
        (2, None, ("error: it is damaged",), "names no file: error: it is damaged"),
        (2, None, ("error: /copy/x", "error: again"), "error: /copy/x | error: again"),
        (1, None, ("unexpected KeyError: 'x'",), "unexpected KeyError: 'x'"),
        (1, None, (), "exit code 1 without a word"),
    ],
)
def test_what_is_held_and_what_is_not(code: int, numbers: object, errors: tuple[str, ...], found: str) -> None:
    assert _wrong(Outcome("evaluate", code, numbers, errors), SOUND, Path("/copy")) == found


def test_verify_may_name_the_damage_with_exit_code_1() -> None:
    assert _wrong(Outcome("cache verify", 1, None, ()), SOUND, Path("/copy")) == ""


@pytest.mark.parametrize("damage", [*PLAIN.values(), *TABLE.values()])
def test_damage_is_done_and_the_seed_decides_it(tmp_path: Path, damage: Damage) -> None:
    content = b"".join(f"train{number % 10} {number}".encode() for number in range(1000))
    found = []
    for _ in range(2):
        file = tmp_path / "file"
        file.write_bytes(content)
        said = damage(np.random.default_rng(4), file)
        found.append((said, file.read_bytes() if file.exists() else None))
    assert found[0] == found[1]
    assert found[0][1] != content


@pytest.mark.parametrize("content", [b"", b"x", b"train1"])
@pytest.mark.parametrize("damage", [*PLAIN.values(), *TABLE.values()])
def test_files_that_are_too_small_are_no_trouble(tmp_path: Path, damage: Damage, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert damage(np.random.default_rng(0), tmp_path / "file")


def test_json_is_edited_in_one_place(tmp_path: Path) -> None:
    values = {"a": [1, {"b": "text"}], "c": True}
    (tmp_path / "zarr.json").write_text(json.dumps(values))
    said = {edit_json(np.random.default_rng(seed), tmp_path / "zarr.json") for seed in range(3)}
    assert json.loads((tmp_path / "zarr.json").read_text()) != values
    assert len(said) > 1
    changed = [json.dumps(copy) for seed in range(40) for copy in [json.loads(json.dumps(values))]
               if edit(np.random.default_rng(seed), copy)]  # fmt: skip
    assert len(set(changed)) > 12


def test_shards_are_exchanged(tmp_path: Path) -> None:
    store = tiny_cache.write_cache(tmp_path)
    before = {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}
    said = swap_files(np.random.default_rng(0), store)
    after = {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}
    assert "exchanged" in said
    assert before.keys() == after.keys()
    assert sorted(before.values()) == sorted(after.values())
    assert before != after


def test_every_mistake_in_a_list_changes_it(tmp_path: Path) -> None:
    clips = [f"{label}{number}" for label in "abcd" for number in range(4)]
    episodes = [[[0, 4, 8], [1, 5, 9]], [[12, 2, 6], [13, 3, 7]]]
    values = {
        "format": "f", "dataset": "d", "split": "test", "way": 3, "shot": 1, "queries": 1, "seed": 0,
        "classes": [name[0] for name in clips], "clips": clips, "episodes": episodes, "sha256": "",
    }  # fmt: skip
    for seed, (name, mistake) in enumerate(EDITS.items()):
        copy = json.loads(json.dumps(values))
        mistake(np.random.default_rng(seed), copy)
        assert copy != values, name
    file = tmp_path / "list.json"
    file.write_text(json.dumps(values))
    edit_signed(np.random.default_rng(1), file)
    assert len(json.loads(file.read_text())["sha256"]) == 64
