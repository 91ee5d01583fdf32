"""Class splits: drawn, read from a file, and applied to clips."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.datasets.folder import Clip
from ta2n.pipeline.datasets.splits import (
    apply_class_split,
    read_split_file,
    seeded_class_split,
)


def clip(label: str, split: str = "") -> Clip:
    return Clip(f"{split}/{label}/x.avi", Path("x.avi"), label, split)


@pytest.mark.parametrize(
    ("classes", "train", "held_out"),
    [(3, 1, 1), (8, 4, 2), (14, 6, 4), (15, 5, 5), (20, 10, 5), (100, 60, 20), (101, 61, 20)],
)
def test_validation_and_test_get_the_documented_number_of_classes(classes: int, train: int, held_out: int) -> None:
    split = seeded_class_split([f"c{i}" for i in range(classes)], seed=3)
    assert Counter(split.values()) == {"train": train, "val": held_out, "test": held_out}


@given(st.sets(st.text(max_size=4), min_size=3, max_size=40), st.integers(0, 2**32), st.randoms())
def test_a_draw_depends_on_the_set_of_classes_and_the_seed_only(classes: set[str], seed: int, random: object) -> None:
    labels = sorted(classes) * 2
    shuffled = sorted(labels, key=lambda _: random.random())  # type: ignore[attr-defined]
    split = seeded_class_split(labels, seed)
    assert split == seeded_class_split(shuffled, seed)
    assert list(split) == list(seeded_class_split(shuffled, seed))
    assert set(split) == classes
    assert set(split.values()) == {"train", "val", "test"}


def test_another_seed_draws_another_split() -> None:
    classes = [f"c{i}" for i in range(30)]
    assert len({tuple(seeded_class_split(classes, seed).items()) for seed in range(5)}) == 5


def test_two_classes_cannot_be_split_in_three() -> None:
    with pytest.raises(InputError, match=r"at least 3 classes.*found \['a', 'b'\]"):
        seeded_class_split(["a", "b", "a"], seed=0)


def test_a_split_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "split.json"
    file.write_text('{"train": ["a", "ü"], "test": ["b"]}', encoding="utf-8")
    assert read_split_file(file) == {"a": "train", "ü": "train", "b": "test"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"train": ["a"], "test": ["b", "a"]}', "class 'a' is listed in 'train' and again in 'test'"),
        ('{"train": ["a", "a"]}', "class 'a' is listed in 'train' and again in 'train'"),
        ('{"train": ["a"], "train": ["b"]}', "the key 'train' is there twice"),
        ('{"training": ["a"]}', "unknown split 'training'; expected"),
        ('{"train": "a"}', "the split 'train' is not a list of class names"),
        ('{"train": [1]}', "the split 'train' is not a list of class names"),
        ('["a"]', "holds a JSON list; expected"),
        ('{"train": []}', "names no class"),
        ("train: a", "cannot be read as JSON"),
    ],
)
def test_a_bad_split_file_is_named_with_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "split.json"
    file.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_split_file(file)
    assert str(caught.value).startswith(str(file))


def test_a_missing_split_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"nowhere\.json: there is no such split file"):
        read_split_file(tmp_path / "nowhere.json")


def test_applying_a_split_names_classes_on_either_side_that_the_other_lacks() -> None:
    clips = [clip("a", "test"), clip("b"), clip("c10"), clip("c9")]
    kept, notes = apply_class_split(clips, {"b": "val", "a": "train", "z": "test"})
    assert [(c.label, c.split) for c in kept] == [("a", "train"), ("b", "val")]
    assert notes == (
        "Clips of classes that the split does not name are left out (2): c9, c10.",
        "The split names classes without clips (1): z.",
    )


def test_a_split_of_other_classes_is_an_error() -> None:
    with pytest.raises(InputError, match=r"none of the classes of the clips \(a\)"):
        apply_class_split([clip("a")], {"A": "train"})
