"""Which run is the one in a folder: settings, options and clips are compared by name."""

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_cache
from quick_runs import (
    QUICK,
    as_of_an_older_ta2n,
    files,
    make_cache,
    refusal,
    train,
)

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.heads import HEADS
from ta2n.pipeline.training.checkpoint import BEST, LAST
from ta2n.pipeline.training.clips import clip_changes
from ta2n.pipeline.training.resume import changes
from ta2n.pipeline.training.settings import Settings


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return make_cache(tmp_path_factory.mktemp("c"))


def test_another_run_in_the_same_folder_is_refused(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "a", epochs=1)
    with pytest.raises(InputError, match=r"holds another run \(settings: learning_rate 0.01 -> 0.5\)"):
        train(cache, tmp_path / "a", learning_rate=0.5)


def with_failed(folder: Path, *rows: int, **changes: Any) -> FeatureCache:
    """The store of :func:`make_cache`, of which some clips could not be used."""
    return make_cache(folder, failed=rows, **changes)


def test_a_run_of_other_clips_is_refused_and_named(cache: FeatureCache, tmp_path: Path) -> None:
    fewer = with_failed(tmp_path / "fewer", 3, 9)
    train(fewer, tmp_path / "run", epochs=1)
    turned_up = refusal(cache, tmp_path / "run", epochs=2)
    assert "train: 2 clips more (train/train0/3.avi, train/train1/1.avi)" in turned_up
    assert "choose another --out, or delete last.safetensors" in turned_up
    train(cache, tmp_path / "all", epochs=1)
    others = with_failed(tmp_path / "others", 0, 1, 2, 3, 50)
    lost = refusal(others, tmp_path / "all", epochs=2)
    assert "train: 4 clips fewer (train/train0/0.avi, train/train0/1.avi, train/train0/2.avi, ...)" in lost
    assert "val: 1 clip fewer (val/val0/2.avi)" in lost
    assert "train: 1 clip more" in refusal(with_failed(tmp_path / "mixed", 9), tmp_path / "run", epochs=2)


def test_clips_of_another_split_do_not_matter(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "run", epochs=1)
    tests_only = with_failed(tmp_path / "store", 100, 101)
    assert train(tests_only, tmp_path / "run", epochs=2).progress.episode == 12
    # Nor does the val split of a run that does not select.
    train(cache, tmp_path / "last", epochs=1, val_episodes=0)
    assert (
        train(with_failed(tmp_path / "other", 60), tmp_path / "last", epochs=2, val_episodes=0).progress.episode == 12
    )


def test_the_same_clips_with_other_maps_or_classes_are_others(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "run", epochs=1)
    other = make_cache(tmp_path / "maps", signal=0.2)
    assert "48 clips of another class or with other features" in refusal(other, tmp_path / "run", epochs=2)
    moved = make_cache(tmp_path / "classes")
    label = moved.videos.label.tolist()
    label[0], label[8] = label[8], label[0]
    moved.videos = tiny_cache.relabelled(moved.videos, label)
    assert "2 clips of another class" in refusal(moved, tmp_path / "run", epochs=2)


def test_a_split_file_that_moves_classes_is_another_run(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "run", epochs=1)
    moved = make_cache(tmp_path / "store")
    split = moved.videos.split.copy()
    split[moved.videos.label == "test0"] = "train"
    moved.use_splits(split)
    assert "train: 8 clips more (test/test0/0.avi, " in refusal(moved, tmp_path / "run", epochs=2)


def test_clips_in_another_order_are_other_episodes() -> None:
    one = {"digests": 1, "train": {"count": 2, "sha256": "x", "clips": {"a": "1.2", "b": "3.4"}}}
    other = {"digests": 1, "train": {"count": 2, "sha256": "y", "clips": {"b": "3.4", "a": "1.2"}}}
    assert clip_changes(one, one) == []
    assert clip_changes(one, other) == ["train: the same clips in another order"]


def test_digests_of_two_formats_are_not_compared_but_ids_and_classes_are() -> None:
    def of(digests: int, **clips: str) -> dict[str, Any]:
        return {"digests": digests, "val": {"count": len(clips), "sha256": str(clips), "clips": clips}}

    assert clip_changes(of(1, a="1.2"), of(2, a="1.9")) == []
    assert clip_changes(of(1, a="1.2"), of(1, a="1.9")) == ["val: 1 clip of another class or with other features (a)"]
    assert clip_changes(of(1, a="1.2"), of(2, a="5.9")) == ["val: 1 clip of another class or with other features (a)"]
    assert clip_changes(of(1, a="1.2"), of(2, b="1.9")) == ["val: 1 clip more (b), 1 clip fewer (a)"]


def test_an_older_run_that_names_no_clips_goes_on_and_says_so(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "run", epochs=1)
    for name in (BEST, LAST):
        as_of_an_older_ta2n(tmp_path / "run" / name, "clips", "manifest", "progress.history")
    notes: list[str] = []
    assert train(cache, tmp_path / "run", epochs=2, on_note=notes.append).progress.episode == 12
    assert sum("does not name its clips" in line for line in notes) == 1
    for name in (BEST, LAST):
        as_of_an_older_ta2n(tmp_path / "run" / name, "clips", "manifest")
    moved = make_cache(tmp_path / "store")
    moved.use_splits(np.where(moved.videos.label == "test0", "train", moved.videos.split))
    assert "split_hash: " in refusal(moved, tmp_path / "run", epochs=3)
    assert "manifest_hash: " in refusal(make_cache(tmp_path / "v", views=1), tmp_path / "run", epochs=3)


def test_another_kind_of_features_is_named_by_field(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "run", epochs=1)
    found = refusal(make_cache(tmp_path / "v", views=1), tmp_path / "run", epochs=2)
    assert "manifest: views ['view 0', 'view 1'] -> ['view 0']" in found


# A value other than QUICK's for every field, and for some options.
OTHERS: dict[str, Any] = {
    "method": "otam",
    "options": {"project": 3},
    "way": 2,
    "shot": 2,
    "queries": 1,
    "frames": 3,
    "episodes_per_epoch": 3,
    "accumulate": 2,
    "objective": "base",
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "val_episodes": 9,
    "seed": 1,
}


def identity(settings: Settings) -> dict[str, Any]:
    sizes = {"channels": 6, "frames": settings.frames, "size": 7, "seed": settings.seed}
    return {"head": {"name": settings.method, **sizes, **settings.options}, "settings": dataclasses.asdict(settings)}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Settings)])
def test_every_field_is_compared_except_those_that_say_where_to_stop(field: str) -> None:
    changed = dataclasses.replace(QUICK, **{field: OTHERS.get(field, 77)})
    stored = json.loads(json.dumps(identity(QUICK)))
    assert changes(stored, identity(QUICK), QUICK) == ""
    found = changes(stored, identity(changed), changed)
    assert ("project 4 -> 3" if field == "options" else f"{field} ") in found or field in ("epochs", "patience")
    assert (found == "") == (field in ("epochs", "patience"))


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Settings) if field.name != "method"])
def test_a_field_that_was_not_there_is_taken_for_its_default(field: str) -> None:
    usual = Settings(method="ta2n")
    stored = json.loads(json.dumps(identity(usual)))
    del stored["settings"][field]
    assert changes(stored, identity(usual), usual) == ""
    value = {**OTHERS, "optimizer": "adam"}.get(field, 77)
    other = dataclasses.replace(usual, **{field: value})
    assert (changes(stored, identity(other), other) == "") == (field in ("epochs", "patience"))


def as_tuples(value: Any) -> Any:
    return tuple(map(as_tuples, value)) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("method", sorted(HEADS))
def test_the_options_of_every_head_are_the_same_as_json_has_them(method: str) -> None:
    known = inspect.signature(HEADS[method]).parameters.values()
    usual = {one.name: one.default for one in known if one.default is not inspect.Parameter.empty}
    usual |= {"cardinalities": (2, 3)} if "cardinalities" in usual else {}
    settings = dataclasses.replace(QUICK, method=method, options={name: as_tuples(usual[name]) for name in usual})
    stored = json.loads(json.dumps(identity(settings)))
    assert changes(stored, identity(settings), settings) == ""
    # An option of today that the older run could not have been given, and one that is given as its default.
    bare = dataclasses.replace(settings, options={} if "cardinalities" not in usual else {"cardinalities": [2, 3]})
    assert changes(stored, identity(bare), bare) == ""
    assert changes(json.loads(json.dumps(identity(bare))), identity(settings), settings) == ""
    for name, value in usual.items():
        other = {**usual, name: (not value) if isinstance(value, bool) else "another"}
        changed = dataclasses.replace(settings, options=other)
        assert f"options.{name} " in changes(stored, identity(changed), changed)


def test_tuples_and_lists_of_options_are_one_run(cache: FeatureCache, tmp_path: Path) -> None:
    short: dict[str, Any] = {"method": "trx", "epochs": 1, "episodes_per_epoch": 1, "val_episodes": 0}
    options: dict[str, Any] = {"project": 4, "dropout": 0.0}
    train(cache, tmp_path, options={**options, "cardinalities": (2,)}, **short)
    before = files(tmp_path)
    train(cache, tmp_path, options={**options, "cardinalities": [2]}, **short)
    assert files(tmp_path) == before
    assert "options.cardinalities [2] -> [1]" in refusal(
        cache, tmp_path, options={**options, "cardinalities": (1,)}, **short
    )
