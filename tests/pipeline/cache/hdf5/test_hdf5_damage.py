"""HDF5 files that are damaged, cut short, or something else."""

import contextlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny_cache
from hypothesis import given, settings
from hypothesis import strategies as st

from ta2n.cache_schema.errors import DamagedCacheError, InputError, MissingError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.hdf5.export import export_hdf5
from ta2n.pipeline.cache.hdf5.restore import import_hdf5
from ta2n.pipeline.cache.hdf5.source import Hdf5Source
from ta2n.pipeline.cache.verify import damaged_clips

SMALL = tiny_cache.table(classes_per_split=2, clips_per_class=3)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    folder = tmp_path_factory.mktemp("stored")
    store = FeatureCache.open(tiny_cache.write_cache(folder, videos=SMALL, shard_size=5))
    export_hdf5(store, folder / "toy.h5")
    export_hdf5(store, folder / "packed.h5", compression="gzip")
    return store


@given(row=st.integers(0, 17), byte=st.integers(0, 431), bit=st.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_one_flipped_bit_is_found_and_named(stored: FeatureCache, row: int, byte: int, bit: int) -> None:
    file = stored.path.with_name("flipped.h5")
    raw = bytearray(stored.path.with_name("toy.h5").read_bytes())
    offset = Hdf5Source(stored.path.with_name("toy.h5")).offset
    assert offset is not None
    raw[int(offset[row, 0]) + byte] ^= 1 << bit
    file.write_bytes(raw)
    ((name, problem),) = damaged_clips(FeatureCache.open(file))
    assert name == str(stored.videos.id[row])
    assert "is not what was written" in problem


@pytest.mark.parametrize("form", ["toy", "packed"])
def test_what_is_damaged_is_not_passed_on(stored: FeatureCache, tmp_path: Path, form: str) -> None:
    file = tmp_path / "toy.h5"
    file.write_bytes(stored.path.with_name(f"{form}.h5").read_bytes())
    with h5py.File(file, "r+") as opened:
        opened["features"][4, 0, 0, 0, 0, 0] += 1
    single = FeatureCache.open(file)
    assert [name for name, _ in damaged_clips(single)] == [str(stored.videos.id[4])]
    for copied in ("none", "lzf"):
        with pytest.raises(DamagedCacheError, match=r"clip .* is not what was written"):
            export_hdf5(single, tmp_path / "copy.h5", compression=copied)
    with pytest.raises(DamagedCacheError, match=r"clip .* is not what was written"):
        import_hdf5(file, tmp_path / "back")


def test_a_chunk_that_cannot_be_unpacked(stored: FeatureCache, tmp_path: Path) -> None:
    file = tmp_path / "packed.h5"
    raw = bytearray(stored.path.with_name("packed.h5").read_bytes())
    offset = Hdf5Source(stored.path.with_name("packed.h5")).offset
    assert offset is not None
    raw[int(offset[6, 0]) : int(offset[6, 0]) + 40] = bytes(40)
    file.write_bytes(raw)
    single = FeatureCache.open(file)
    ((name, problem),) = damaged_clips(single)
    assert name == str(stored.videos.id[6])
    assert "cannot be read" in problem
    with pytest.raises(DamagedCacheError, match="row 6 cannot be read"):
        single.read([5, 6])


def test_a_map_that_is_not_there(stored: FeatureCache, tmp_path: Path) -> None:
    file = tmp_path / "toy.h5"
    file.write_bytes(stored.path.with_name("toy.h5").read_bytes())
    with h5py.File(file, "r+") as opened:
        shape = opened["features"].shape
        del opened["features"]
        opened.create_dataset("features", shape, "<f2", chunks=(1, 1, *shape[2:]))[3] = 1
    with pytest.raises(DamagedCacheError, match="no map of row 2"):
        FeatureCache.open(file).read([2])
    assert len(damaged_clips(FeatureCache.open(file))) == len(stored)


@given(part=st.floats(0, 1, exclude_max=True), form=st.sampled_from(["toy", "packed"]))
@settings(max_examples=20, deadline=None)
def test_a_file_cut_short_anywhere(stored: FeatureCache, part: float, form: str) -> None:
    raw = stored.path.with_name(f"{form}.h5").read_bytes()
    file = stored.path.with_name("cut.h5")
    file.write_bytes(raw[: int(part * len(raw))])
    with pytest.raises(DamagedCacheError, match="cannot be opened as an HDF5 file"):
        FeatureCache.open(file)


def without(file: Path, name: str) -> None:
    with h5py.File(file, "r+") as opened:
        if name in opened.attrs:
            del opened.attrs[name]
        else:
            del opened[name]


@pytest.mark.parametrize(
    "name", ["ta2n", "shard_size", "compression", "features", "videos/id", "state", "reason", "digest"]
)
def test_a_part_that_is_missing(stored: FeatureCache, tmp_path: Path, name: str) -> None:
    file = tmp_path / "toy.h5"
    file.write_bytes(stored.path.with_name("toy.h5").read_bytes())
    without(file, name)
    with pytest.raises(DamagedCacheError, match=name):
        import_hdf5(file, tmp_path)


def test_a_row_table_that_was_changed(stored: FeatureCache, tmp_path: Path) -> None:
    raw = stored.path.with_name("toy.h5").read_bytes()
    assert raw.count(b"train0\0train1\0") == 1
    (tmp_path / "toy.h5").write_bytes(raw.replace(b"train0\0train1\0", b"train0\0train0\0"))
    with pytest.raises(DamagedCacheError, match="column 'label_names' of its row table is not what was written"):
        FeatureCache.open(tmp_path / "toy.h5")
    (tmp_path / "b.h5").write_bytes(stored.path.with_name("toy.h5").read_bytes())
    without(tmp_path / "b.h5", "videos")  # the checksums
    with pytest.raises(DamagedCacheError, match="miss the checksums"):
        FeatureCache.open(tmp_path / "b.h5")


@given(part=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), form=st.sampled_from(["toy", "packed"]))
@settings(max_examples=60, deadline=None)
def test_a_bit_flipped_anywhere_is_an_error_of_ours_or_none(
    stored: FeatureCache, part: float, bit: int, form: str
) -> None:
    raw = bytearray(stored.path.with_name(f"{form}.h5").read_bytes())
    raw[int(part * len(raw))] ^= 1 << bit
    file = stored.path.with_name("flipped.h5")
    # A new file each time: HDF5 takes one of the same inode for the one it has open.
    file.unlink(missing_ok=True)
    file.write_bytes(raw)
    with contextlib.suppress(DamagedCacheError):
        single = FeatureCache.open(file)
        damaged_clips(single)
        single.failures()


def test_features_of_another_shape(stored: FeatureCache, tmp_path: Path) -> None:
    file = tmp_path / "toy.h5"
    file.write_bytes(stored.path.with_name("toy.h5").read_bytes())
    without(file, "features")
    with h5py.File(file, "r+") as opened:
        opened["features"] = np.zeros((18, 2), np.float16)
    with pytest.raises(DamagedCacheError, match=r"have shape \(18, 2\), expected \(18, 1\) videos and views"):
        FeatureCache.open(file)


def test_no_file_and_no_hdf5_file_and_no_cache(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        FeatureCache.open(tmp_path / "no.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(DamagedCacheError, match="cannot be opened as an HDF5 file"):
        FeatureCache.open(tmp_path / "text.h5")
    h5py.File(tmp_path / "other.h5", "w").close()
    with pytest.raises(DamagedCacheError, match="--features NAME --labels NAME"):
        FeatureCache.open(tmp_path / "other.h5")


def test_what_is_there_is_not_overwritten(stored: FeatureCache, tmp_path: Path) -> None:
    (tmp_path / "toy.h5").write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already"):
        export_hdf5(stored, tmp_path / "toy.h5")
    with pytest.raises(InputError, match="'zip' is not known"):
        export_hdf5(stored, tmp_path / "other.h5", compression="zip")


def test_a_store_is_preferred_to_a_file_of_its_name(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path, videos=SMALL)
    export_hdf5(FeatureCache.open(path), tmp_path / "toy.h5")
    assert FeatureCache.open(tmp_path).path == path
    path.rename(tmp_path / "away")
    with h5py.File(tmp_path / "foreign.h5", "w") as other:
        other["x"] = 1
    (tmp_path / "text.h5").write_text("no HDF5")
    assert FeatureCache.open(tmp_path).path == tmp_path / "toy.h5"
