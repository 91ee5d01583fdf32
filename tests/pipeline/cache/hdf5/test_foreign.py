"""Features that another tool wrote into an HDF5 file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ta2n.cache_schema.errors import InputError, ManifestMismatchError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.hdf5.foreign import Names, count_clips, import_foreign
from ta2n.pipeline.cache.verify import damaged_clips


def foreign(file: Path, features: np.ndarray[Any, Any], **more: Any) -> None:
    with h5py.File(file, "w") as opened:
        opened["net/feats"] = features
        opened["y"] = more.pop("labels", [b"run", b"jump", b"run", b"walk"])
        for name, values in more.items():
            opened[name] = values


def split_of(classes: list[str]) -> Mapping[str, str]:
    return {
        label: split for label, split in {"jump": "train", "run": "val", "walk": "test"}.items() if label in classes
    }


NAMES = Names(features="net/feats", labels="y")


@pytest.mark.parametrize(
    ("shape", "stored"), [((4, 3, 2, 5, 5), (3, 2, 5, 5)), ((4, 2, 3), (3, 2, 1, 1)), ((4, 2), (2, 1, 1, 1))]
)
def test_features_of_another_tool(tmp_path: Path, shape: tuple[int, ...], stored: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape)
    foreign(tmp_path / "other.h5", values)
    path = import_foreign(tmp_path / "other.h5", tmp_path, NAMES, dataset="mine", split_of=split_of)
    cache = FeatureCache.open(path)
    assert cache.map_shape == stored
    expected = np.moveaxis(values, 1, 2) if len(shape) == 3 else values
    assert np.array_equal(cache.read(range(4)).numpy(), expected.reshape(4, *stored).astype(np.float16))
    assert count_clips(tmp_path / "other.h5", NAMES) == 4
    assert cache.videos.label.tolist() == ["run", "jump", "run", "walk"]
    assert cache.videos.split.tolist() == ["val", "train", "val", "test"]
    assert (cache.manifest.dataset, cache.manifest.backbone) == ("mine", "imported")
    assert damaged_clips(cache) == []


def test_its_own_ids_splits_and_numbered_labels(tmp_path: Path) -> None:
    values = np.ones((4, 2), np.float32)
    values[1, 0], values[2, 1] = np.nan, 1e6
    splits = [b"train", b"test", b"", b"val"]
    foreign(tmp_path / "other.h5", values, labels=[3, 1, 3, 2], ids=[b"a", b"b", b"c", b"d"], where=splits)
    names = Names(features="net/feats", labels="y", ids="ids", splits="where")
    cache = FeatureCache.open(import_foreign(tmp_path / "other.h5", tmp_path, names, dataset="m", split_of=split_of))
    assert cache.videos.id.tolist() == ["a", "b", "c", "d"]
    assert cache.videos.label.tolist() == ["3", "1", "3", "2"]
    assert cache.videos.split.tolist() == ["train", "test", "", "val"]
    assert [name for name, _ in cache.failures()] == ["b", "c"]
    assert cache.done.tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("features", "more", "names", "message"),
    [
        (np.ones((4, 2)), {}, Names(features="feats", labels="y"), "it has net/feats, y"),
        (np.ones((4, 2), int), {}, NAMES, "expected floating point"),
        (np.ones((4, 2, 2, 2)), {}, NAMES, "expected axes as one of VC, VTC, VCTHW; or say --axes"),
        (np.ones((4, 0)), {}, NAMES, "net/feats is empty"),
        (np.ones((4, 1, 1, 2, 3)), {}, NAMES, "expected H = W"),
        (np.ones((3, 2)), {}, NAMES, "expected \\(3,\\)"),
        (
            np.ones((4, 2)),
            {"ids": [b"a", b"a", b"b", b"c"]},
            Names(features="net/feats", labels="y", ids="ids"),
            "1 ids",
        ),
        (np.ones((4, 2)), {"labels": [0.5, 1.0, 2.0, 3.0]}, NAMES, "float64, expected whole numbers or strings"),
        (np.ones((4, 2)), {"labels": np.eye(4)}, NAMES, "shape \\(4, 4\\)"),
        (np.ones((4, 2)), {"labels": [b"\xff", b"a", b"b", b"c"]}, NAMES, "not UTF-8"),
        (np.ones((4, 2)), {"labels": [b"swim"] * 4}, NAMES, "none of its classes \\(swim"),
        (np.ones((4, 2)), {}, Names(features="net", labels="y"), "holds no data set 'net'"),
        (np.ones((4, 2)), {"where": [b"dev"] * 4}, Names(features="net/feats", labels="y", splits="where"), "'dev'"),
    ],
)
def test_what_cannot_be_taken(
    tmp_path: Path, features: np.ndarray[Any, Any], more: dict[str, Any], names: Names, message: str
) -> None:
    foreign(tmp_path / "other.h5", features, **more)
    with pytest.raises(InputError, match=message):
        import_foreign(tmp_path / "other.h5", tmp_path, names, dataset="m", split_of=split_of)
    assert not (tmp_path / "m.zarr").exists()


def test_a_killed_import_of_features_continues(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((150, 2))
    foreign(tmp_path / "other.h5", values, labels=np.arange(150) % 3)
    splits = {"0": "train", "1": "val", "2": "test"}

    def take(on_clips: Any = None) -> FeatureCache:
        path = import_foreign(
            tmp_path / "other.h5", tmp_path, NAMES, dataset="m", split_of=lambda classes: splits, on_clips=on_clips
        )
        return FeatureCache.open(path)

    def kill(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(kill)
    assert 0 < FeatureCache.open(tmp_path).done.sum() < 150
    assert np.array_equal(take().read(range(150)).numpy()[:, :, 0, 0, 0], values.astype(np.float16))
    # The same names with other values are another file's features.
    foreign(tmp_path / "other.h5", values + 1, labels=np.arange(150) % 3)
    with pytest.raises(ManifestMismatchError, match="weights_sha256"):
        take()
