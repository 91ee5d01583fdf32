"""Features of other tools in every form that they are reported in: what is imported, and what is asked for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ta2n.cache_schema.errors import InputError, ManifestMismatchError, MissingError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.hdf5.foreign import Names, count_clips, import_foreign
from ta2n.pipeline.clips import tsn_test

RANDOM = np.random.default_rng(0)
LABELS = ["run", "jump", "walk"]


def split_of(classes: list[str]) -> Mapping[str, str]:
    return dict(zip(sorted(classes), ("train", "val", "test"), strict=False))


def taken(file: Path, names: Names, **said: Any) -> FeatureCache:
    return FeatureCache.open(import_foreign(file, file.parent / "out", names, dataset="m", split_of=split_of, **said))


def video(number: int, frames: int, channels: int = 12) -> np.ndarray[Any, Any]:
    """(T, C) values that no other video and frame has."""
    return 1000.0 * number + np.arange(frames)[:, None] + np.linspace(0, 0.5, channels, dtype=np.float32)


@pytest.fixture
def each(tmp_path: Path) -> Path:
    """A file with a group for each of six videos of 8 to 13 frames."""
    with h5py.File(tmp_path / "each.h5", "w") as file:
        for number in range(6):
            group = file.create_group(f"video_{number}")
            group["features"] = video(number, 8 + number)
            group["label"] = number % 3
            group["n_frames"] = 99.0
    return tmp_path / "each.h5"


def test_one_group_a_video(each: Path) -> None:
    names = Names(features="{id}/features", labels="{id}/label")
    assert count_clips(each, names) == 6
    cache = taken(each, names, frames=4)
    assert cache.videos.id.tolist() == [f"video_{number}" for number in range(6)]
    assert cache.videos.label.tolist() == ["0", "1", "2"] * 2
    assert cache.videos.split.tolist() == ["train", "val", "test"] * 2
    assert cache.map_shape == (12, 4, 1, 1)
    assert cache.frame_count.tolist() == [8, 9, 10, 11, 12, 13]
    for number in range(6):
        index = tsn_test(8 + number, 4)
        assert cache.frame_index([number])[0, 0].tolist() == index.tolist()
        expected = video(number, 8 + number)[index].T.astype(np.float16)
        assert np.array_equal(cache.read([number]).numpy()[0, :, :, 0, 0], expected)
    assert cache.manifest.layer == "{id}/features"


def test_videos_of_different_lengths_need_a_number_of_frames(each: Path) -> None:
    names = Names(features="{id}/features", labels="{id}/label")
    with pytest.raises(InputError, match="its videos have 8 to 13 frames; say by --frames how many"):
        taken(each, names)
    with pytest.raises(InputError, match="--frames 14: expected 1 to 13"):
        taken(each, names, frames=14)
    assert not (each.parent / "out").exists()


def test_one_array_a_video_and_classes_elsewhere(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        for number in range(3):
            file[f"v_{number}"] = video(number, 4)
    (tmp_path / "classes.json").write_text(json.dumps({f"v_{number}": LABELS[number] for number in range(3)}))
    names = Names(features="{id}", labels=str(tmp_path / "classes.json"))
    assert taken(tmp_path / "flat.h5", names).videos.label.tolist() == LABELS
    with pytest.raises(InputError, match=r"nothing says the classes of {id}; put {class} into --features"):
        taken(tmp_path / "flat.h5", Names(features="{id}"))
    with pytest.raises(InputError, match="--labels y does not say it for each video"):
        taken(tmp_path / "flat.h5", Names(features="{id}", labels="y"))


def test_the_class_and_the_split_of_a_group(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        for number, split in enumerate(("train", "val", "test")):
            file[f"{split}/{LABELS[number]}/a/feats"] = video(number, 4)
    cache = taken(tmp_path / "deep.h5", Names(features="{split}/{class}/{id}/feats"))
    assert cache.videos.id.tolist() == ["walk/a", "run/a", "jump/a"]  # in the order of the file's names
    assert cache.videos.split.tolist() == ["test", "train", "val"]
    assert cache.videos.label.tolist() == ["walk", "run", "jump"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (Names(features="{id}/feats", labels="{id}/label"), "none of its data sets is called like {id}/feats; it has "),
        (Names(features="{id}/features", labels="{id}/class"), "no data set 'video_0/class' of one value"),
        (Names(features="{id}/features", labels="{id}/features"), "no data set 'video_0/features' of one value"),
        (Names(features="{id}/features", labels="{id}/n_frames"), "n_frames is float64, expected whole numbers"),
        (Names(features="{id}/label", labels="{id}/label"), "video_0/label is int64, expected floating point"),
        (Names(features="{id}/features", labels="{id}/label", ids="ids"), "--ids goes with one data set"),
        (Names(features="{class}/{id}", labels="{id}/label"), "{class} and --labels say the same"),
        (Names(features="{id}/features", labels="none.json"), "none.json: there is no such list"),
        (
            Names(features="{id}/features", labels="{id}/label", splits="{id}/label"),
            "holds '0', '1', '2', expected train",
        ),
    ],
)
def test_what_groups_do_not_hold(each: Path, names: Names, message: str) -> None:
    with pytest.raises((InputError, MissingError)) as caught:
        taken(each, names, frames=4)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (each.parent / "out").exists()


@pytest.mark.parametrize("text", ["[]", "{", "3", '{"v_0": [1]}', "[" * 99_999, '{"v_0": "run"}'])
def test_lists_of_classes_that_are_none(tmp_path: Path, text: str) -> None:
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["v_0"], file["v_1"] = video(0, 4), video(1, 4)
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(
        InputError, match=r"c\.json: (cannot be read as JSON|expected a JSON table|says nothing of 1 of 2)"
    ):
        taken(tmp_path / "flat.h5", Names(features="{id}", labels=str(tmp_path / "c.json")))


@pytest.mark.parametrize(
    ("form", "ids", "labels"),
    [
        ("{name}", ["a0", "a1", "a2"], "classes.json"),
        ("{label}/{name}", ["jump/a1", "run/a0", "walk/a2"], None),
        ("{split}/{label}/{name}", ["walk/a2", "run/a0", "jump/a1"], None),
        ("{split}/{name}", ["a2", "a0", "a1"], "classes.json"),
    ],
)
def test_a_folder_of_npy(tmp_path: Path, form: str, ids: list[str], labels: str | None) -> None:
    folder = tmp_path / "npy"
    for number, split in enumerate(("train", "val", "test")):
        file = folder / f"{form.format(name=f'a{number}', label=LABELS[number], split=split)}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, video(number, 5 + number))
    (tmp_path / "classes.json").write_text(json.dumps({f"a{number}": LABELS[number] for number in range(3)}))
    names = Names(labels=labels and str(tmp_path / labels))
    assert count_clips(folder, names) == 3
    cache = taken(folder, names, frames=2)
    assert cache.videos.id.tolist() == ids
    numbers = [int(name[-1]) for name in ids]
    assert cache.videos.label.tolist() == [LABELS[number] for number in numbers]
    if "{split}" in form:
        assert cache.videos.split.tolist() == [("train", "val", "test")[number] for number in numbers]
    for row, number in enumerate(numbers):
        expected = video(number, 5 + number)[tsn_test(5 + number, 2)].T.astype(np.float16)
        assert np.array_equal(cache.read([row]).numpy()[0, :, :, 0, 0], expected)
    assert cache.manifest.weights == "npy"


def test_another_folder_of_npy_is_another_kind_of_features(tmp_path: Path) -> None:
    folder = tmp_path / "npy"
    for number, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True)
        np.save(folder / label / "a.npy", video(number, 4))
    first = taken(folder, Names()).manifest
    assert taken(folder, Names()).manifest == first
    np.save(folder / "run" / "a.npy", video(7, 4))
    with pytest.raises(ManifestMismatchError, match="weights_sha256"):
        taken(folder, Names())


def test_folders_that_are_none_of_npy(tmp_path: Path) -> None:
    folder = tmp_path / "npy"
    folder.mkdir()
    with pytest.raises(InputError, match=r"holds no \.npy file"):
        taken(folder, Names())
    (folder / "run").mkdir()
    np.save(folder / "run" / "a.npy", video(0, 4))
    np.save(folder / "labels.npy", np.arange(4.0))
    with pytest.raises(InputError, match=r"does not lie as {id}; say by --features"):
        taken(folder, Names())
    (folder / "run" / "b.npy").write_bytes(b"text")
    with pytest.raises(InputError, match=r"b\.npy: cannot be read as an array"):
        taken(folder, Names(features="{class}/{id}"))
    np.save(folder / "run" / "b.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(InputError, match=r"b\.npy: cannot be read as an array"):
        taken(folder, Names(features="{class}/{id}"))
    with pytest.raises(MissingError, match="no such file, and no such folder"):
        taken(tmp_path / "none", Names())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("shape", "axes", "stored"),
    [
        ((30, 64, 8), "VCT", (64, 8, 1, 1)),
        ((30, 64, 8), "vtc", (8, 64, 1, 1)),
        ((30, 8, 7, 7, 64), "VTHWC", (64, 8, 7, 7)),
        ((30, 64, 7, 7), "VCHW", (64, 1, 7, 7)),
        ((30, 8, 64), None, (64, 8, 1, 1)),
    ],
)
def test_axes_of_one_array(
    tmp_path: Path, shape: tuple[int, ...], axes: str | None, stored: tuple[int, int, int, int]
) -> None:
    values = RANDOM.normal(size=shape).astype(np.float32)
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["features"], file["labels"] = values, np.arange(30) % 3
    cache = taken(tmp_path / "o.h5", Names(features="features", labels="labels"), axes=axes)
    assert cache.map_shape == stored
    letters = (axes or "VTC").upper()
    expected = values.transpose([letters.index(axis) for axis in "VCTHW" if axis in letters])
    assert np.array_equal(cache.read(range(30)).numpy(), expected.reshape(30, *stored).astype(np.float16))
    assert cache.manifest.preprocessing == ({"axes": letters} if axes else {})


def test_the_same_file_with_other_axes_is_another_kind_of_features(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["features"], file["labels"] = RANDOM.normal(size=(6, 5, 5)).astype("f4"), np.arange(6) % 3
    names = Names(features="features", labels="labels")
    with pytest.raises(InputError, match="say which by --axes"):
        taken(tmp_path / "o.h5", names)
    taken(tmp_path / "o.h5", names, axes="VTC")
    with pytest.raises(ManifestMismatchError, match="axes: VTC -> VCT"):
        taken(tmp_path / "o.h5", names, axes="VCT")


REPORTED: dict[str, tuple[Any, Any, str]] = {
    "tokens": (
        RANDOM.normal(size=(6, 1568, 64)).astype("f2"),
        np.arange(6) % 3,
        "VTC (1568 frames, 64 channels) or VCT",
    ),
    "channels last": (RANDOM.normal(size=(6, 8, 7, 7, 64)).astype("f4"), np.arange(6) % 3, "expected H = W"),
    "channels before frames": (RANDOM.normal(size=(6, 64, 8)).astype("f4"), np.arange(6) % 3, "say which by --axes"),
    "one-hot labels": (RANDOM.normal(size=(6, 8, 64)).astype("f4"), np.eye(3)[np.arange(6) % 3], "expected (6,)"),
    "bytes": (RANDOM.integers(0, 255, (6, 8, 64)).astype("u1"), np.arange(6) % 3, "uint8, expected floating point"),
}


@pytest.mark.parametrize("name", list(REPORTED))
def test_forms_that_are_asked_for(tmp_path: Path, name: str) -> None:
    features, labels, message = REPORTED[name]
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["features"], file["labels"] = features, labels
    with pytest.raises(InputError) as caught:
        taken(tmp_path / "o.h5", Names(features="features", labels="labels"))
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_arrays_of_different_lengths_in_one_data_set(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "o.h5", "w") as file:
        values = file.create_dataset("features", (6,), dtype=h5py.vlen_dtype("f4"))
        for row in range(6):
            values[row] = np.ones(64 * (8 + row % 3), "f4")
        file["labels"] = np.arange(6) % 3
    with pytest.raises(InputError, match="features is object, expected floating point"):
        taken(tmp_path / "o.h5", Names(features="features", labels="labels"))


def test_a_class_in_two_splits(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["x"], file["y"] = RANDOM.normal(size=(6, 8)).astype("f4"), np.arange(6) % 3
        file["where"] = [b"train", b"val", b"test", b"train", b"val", b"train"]
    with pytest.raises(InputError, match=r"class '2' is in the split 'test' .clip 'row-000002'. and in 'train'"):
        taken(tmp_path / "o.h5", Names(features="x", labels="y", splits="where"))
    assert not (tmp_path / "out").exists()


def test_a_video_without_frames_is_recorded(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "o.h5", "w") as file:
        for number, frames in enumerate((4, 0, 5)):
            file[f"{LABELS[number]}/a"] = video(number, frames)
    cache = taken(tmp_path / "o.h5", Names(features="{class}/{id}"), frames=4)
    assert cache.failures() == [("jump/a", "it has no frames")]


@pytest.mark.parametrize("name", ["", ".", "..", "../escaped", "a/b", "/abs"])
def test_a_store_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["x"], file["y"] = RANDOM.normal(size=(6, 8)).astype("f4"), np.arange(6) % 3
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="is no name of a store"):
        import_foreign(
            tmp_path / "o.h5", tmp_path / "out", Names(features="x", labels="y"), dataset=name, split_of=split_of
        )
    assert sorted(tmp_path.rglob("*")) == before
