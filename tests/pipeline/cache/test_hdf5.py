"""One file and back: the same values, the same bytes, whatever was killed on the way; and files of other tools."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tiny_cache
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ta2n.cache_schema.errors import DamagedCacheError, InputError, ManifestMismatchError, MissingError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.export import export_hdf5
from ta2n.pipeline.cache.foreign import Names, import_foreign
from ta2n.pipeline.cache.restore import import_hdf5
from ta2n.pipeline.cache.verify import damaged_clips


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@given(
    shape=st.tuples(*[st.integers(1, 3)] * 4),
    views=st.integers(1, 3),
    shard=st.sampled_from([7, 20, 60]),
    packed=st.sampled_from(["none", "zstd", "lz4"]),
    form=st.sampled_from(["none", "gzip", "lzf"]),
    failed=st.sets(st.integers(0, 40), max_size=3),
)
@settings(max_examples=10)
def test_a_round_trip_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int, int],
    views: int,
    shard: int,
    packed: str,
    form: str,
    failed: set[int],
) -> None:
    folder = tmp_path_factory.mktemp("round")
    path = tiny_cache.write_cache(
        folder, map_shape=shape, views=views, shard_size=shard, compression=packed, failed=tuple(sorted(failed))
    )
    store, file = FeatureCache.open(path), folder / "toy.h5"
    assert export_hdf5(store, file, compression=form) == 0
    single = FeatureCache.open(file)
    rows = np.flatnonzero(store.done)
    view = np.arange(len(rows)) % views
    assert torch.equal(single.read(rows, view), store.read(rows, view))
    assert single.failures() == store.failures()
    assert np.array_equal(single.frame_index(rows), store.frame_index(rows))
    assert (single.manifest, single.videos.hash(), single.map_shape) == (
        store.manifest,
        store.videos.hash(),
        store.map_shape,
    )
    assert single.compressed == (form != "none")
    assert damaged_clips(single) == []
    back, kept = import_hdf5(file, folder / "back")
    assert kept == 0
    assert files(back) == files(path)
    assert import_hdf5(file, folder / "back") == (back, len(store))


@pytest.mark.parametrize("form", ["none", "gzip"])
@pytest.mark.parametrize("after", [0, 7, 30])
def test_a_killed_export_continues(tmp_path: Path, form: str, after: int) -> None:
    store = FeatureCache.open(tiny_cache.write_cache(tmp_path, failed=(2,)))
    file = tmp_path / "toy.h5"

    def kill(done: int) -> None:
        if done > after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_hdf5(store, file, compression=form, on_clips=kill)
    assert not file.exists()
    assert export_hdf5(store, file, compression=form) == after + (after < 2)
    assert damaged_clips(FeatureCache.open(file)) == []
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_what_another_export_left_is_not_mixed_in(tmp_path: Path) -> None:
    store = FeatureCache.open(tiny_cache.write_cache(tmp_path / "a"))
    other = FeatureCache.open(tiny_cache.write_cache(tmp_path / "b", signal=3.0))
    file = tmp_path / "toy.h5"

    def kill(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_hdf5(other, file, on_clips=kill)
    assert export_hdf5(store, file) == 0
    rows = np.flatnonzero(store.done)
    assert torch.equal(FeatureCache.open(file).read(rows), store.read(rows))
    (tmp_path / ".next.h5.partial").write_bytes(b"no HDF5")
    assert export_hdf5(store, tmp_path / "next.h5") == 0


def test_a_killed_import_continues(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path, shard_size=10)
    file = tmp_path / "toy.h5"
    export_hdf5(FeatureCache.open(path), file)

    def kill(done: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_hdf5(file, tmp_path / "back", on_clips=kill)
    back, kept = import_hdf5(file, tmp_path / "back")
    assert kept == 20
    assert files(back) == files(path)


def test_what_is_damaged_is_named_and_not_passed_on(tmp_path: Path) -> None:
    store = FeatureCache.open(tiny_cache.write_cache(tmp_path))
    file = tmp_path / "toy.h5"
    export_hdf5(store, file)
    with h5py.File(file, "r+") as opened:
        opened["features"][4, 0, 0, 0, 0, 0] += 1
    single = FeatureCache.open(file)
    ((name, problem),) = damaged_clips(single)
    assert name == str(store.videos.id[4])
    assert "is not what was written" in problem
    with pytest.raises(DamagedCacheError, match=r"clip .* is not passed on"):
        export_hdf5(single, tmp_path / "copy.h5")
    with pytest.raises(DamagedCacheError, match=r"clip .* is not passed on"):
        import_hdf5(file, tmp_path / "back")


def test_a_file_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "toy.h5"
    export_hdf5(FeatureCache.open(tiny_cache.write_cache(tmp_path)), file)
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(DamagedCacheError, match="cannot be opened as an HDF5 file"):
        FeatureCache.open(file)


def test_other_features_are_not_mixed(tmp_path: Path) -> None:
    export_hdf5(FeatureCache.open(tiny_cache.write_cache(tmp_path / "a", views=2)), tmp_path / "toy.h5")
    tiny_cache.write_cache(tmp_path / "b")
    with pytest.raises(ManifestMismatchError, match="views"):
        import_hdf5(tmp_path / "toy.h5", tmp_path / "b")


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    store = FeatureCache.open(tiny_cache.write_cache(tmp_path))
    (tmp_path / "toy.h5").write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already"):
        export_hdf5(store, tmp_path / "toy.h5")
    with pytest.raises(InputError, match="'zip' is not known"):
        export_hdf5(store, tmp_path / "other.h5", compression="zip")


def test_no_file_and_no_hdf5_file_and_no_cache(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        FeatureCache.open(tmp_path / "no.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(DamagedCacheError, match="cannot be opened as an HDF5 file"):
        FeatureCache.open(tmp_path / "text.h5")
    h5py.File(tmp_path / "other.h5", "w").close()
    with pytest.raises(DamagedCacheError, match="--features NAME --labels NAME"):
        FeatureCache.open(tmp_path / "other.h5")


def test_a_store_is_preferred_to_a_file_of_its_name(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path)
    export_hdf5(FeatureCache.open(path), tmp_path / "toy.h5")
    assert FeatureCache.open(tmp_path).path == path
    path.rename(tmp_path / "away")
    assert FeatureCache.open(tmp_path).path == tmp_path / "toy.h5"


def foreign(file: Path, features: np.ndarray[Any, Any], **more: Any) -> None:
    with h5py.File(file, "w") as opened:
        opened["net/feats"] = features
        opened["y"] = more.pop("labels", [b"run", b"jump", b"run", b"walk"])
        for name, values in more.items():
            opened[name] = values


def split_of(classes: list[str]) -> Mapping[str, str]:
    return dict(zip(classes, ["train", "val", "test"], strict=True))


NAMES = Names(features="net/feats", labels="y")


@pytest.mark.parametrize(
    ("shape", "stored"), [((4, 2, 3, 5, 5), (2, 3, 5, 5)), ((4, 3, 2), (2, 3, 1, 1)), ((4, 2), (2, 1, 1, 1))]
)
def test_features_of_another_tool(tmp_path: Path, shape: tuple[int, ...], stored: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape)
    foreign(tmp_path / "other.h5", values)
    path = import_foreign(tmp_path / "other.h5", tmp_path, NAMES, dataset="mine", split_of=split_of)
    cache = FeatureCache.open(path)
    assert cache.map_shape == stored
    expected = np.moveaxis(values, 1, 2) if len(shape) == 3 else values
    assert np.array_equal(cache.read(range(4)).numpy(), expected.reshape(4, *stored).astype(np.float16))
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
        (np.ones((4, 2, 2, 2)), {}, NAMES, "expected floating point of"),
        (np.ones((4, 1, 1, 2, 3)), {}, NAMES, "expected H = W"),
        (np.ones((3, 2)), {}, NAMES, "expected \\(3,\\)"),
        (
            np.ones((4, 2)),
            {"ids": [b"a", b"a", b"b", b"c"]},
            Names(features="net/feats", labels="y", ids="ids"),
            "1 ids",
        ),
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
