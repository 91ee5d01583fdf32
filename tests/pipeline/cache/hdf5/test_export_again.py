"""The same export once more: finished, killed at any step, damaged meanwhile, or of something else."""

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny_cache

from ta2n.cache_schema.errors import DamagedCacheError, InputError
from ta2n.cache_schema.lock import lock_file
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.hdf5 import export
from ta2n.pipeline.cache.hdf5.export import FILE_COMPRESSIONS, export_hdf5
from ta2n.pipeline.cache.hdf5.source import Hdf5Source
from ta2n.pipeline.cache.verify import damaged_clips, sound_map
from ta2n.pipeline.cache.writer import COLUMNS

SMALL = tiny_cache.table(classes_per_split=2, clips_per_class=3)
MAPS = 34  # two views of 18 clips but one

Hook = Callable[..., object]


def store_in(folder: Path, *, signal: float = 1.0, failed: tuple[int, ...] = (2,)) -> FeatureCache:
    path = tiny_cache.write_cache(folder, videos=SMALL, views=2, shard_size=9, failed=failed, signal=signal)
    return FeatureCache.open(path)


def names(folder: Path) -> set[str]:
    """What lies in a folder, but for the locks of writers, which stay."""
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


@pytest.mark.parametrize("form", FILE_COMPRESSIONS)
def test_a_finished_export_is_compared_and_left_as_it_is(tmp_path: Path, form: str) -> None:
    store, file, told = store_in(tmp_path / "feats"), tmp_path / "toy.h5", list[int]()
    export_hdf5(store, file, compression=form)
    before, inode = file.read_bytes(), file.stat().st_ino
    assert export_hdf5(store, file, compression=form, on_clips=told.append) == MAPS
    assert told == list(range(1, 19))
    assert (file.read_bytes(), file.stat().st_ino) == (before, inode)


@pytest.mark.parametrize("form", FILE_COMPRESSIONS)
def test_a_finished_export_whose_map_was_damaged_is_not_called_the_same(tmp_path: Path, form: str) -> None:
    store, file = store_in(tmp_path / "feats"), tmp_path / "toy.h5"
    export_hdf5(store, file, compression=form)
    with h5py.File(file, "r+") as opened:
        opened["features"][7, 1, 0, 0, 0, 0] += 1
    with pytest.raises(DamagedCacheError, match=rf"toy.h5: the map of clip .*{store.videos.id[7]}"):
        export_hdf5(store, file, compression=form)


def other_features(folder: Path) -> FeatureCache:
    tiny_cache.write_cache(folder, videos=SMALL)
    return FeatureCache.open(folder / "toy.zarr")


@pytest.mark.parametrize(
    ("made", "form", "message"),
    [
        (lambda folder: store_in(folder), "gzip", "compression is gzip, not none"),
        (lambda folder: store_in(folder, failed=(2, 3)), "none", r"at another time \(16 clips done then, 17 now\)"),
        (lambda folder: store_in(folder, signal=2.0), "none", "holds other maps than"),
        (other_features, "none", "holds other features than"),
    ],
)
def test_a_file_of_something_else_is_refused_and_nothing_is_written(
    tmp_path: Path, made: Callable[[Path], FeatureCache], form: str, message: str
) -> None:
    store, file = store_in(tmp_path / "feats"), tmp_path / "toy.h5"
    export_hdf5(made(tmp_path / "other"), file, compression=form)
    lock_file(file).unlink()
    before, contents = {path.name for path in tmp_path.iterdir()}, file.read_bytes()
    with pytest.raises(InputError, match=f"toy.h5: is there already and .*{message}.*; delete it, or export to"):
        export_hdf5(store, file)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert file.read_bytes() == contents


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.write_text("text")])
def test_what_is_no_export_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "toy.h5")
    with pytest.raises(InputError, match=r"toy.h5: is there already and (is no file|cannot be read)"):
        export_hdf5(store_in(tmp_path / "feats"), tmp_path / "toy.h5")
    assert names(tmp_path) == {"toy.h5", "feats"}


def dying(at: int, function: Hook) -> Hook:
    """A function that dies when it is called for the ``at``-th time, before or behind what it does."""
    calls = iter(range(at // 2))

    def called(*given: object, **named: object) -> object:
        if next(calls, None) is not None:
            return function(*given, **named)
        if at % 2:
            function(*given, **named)
        raise KeyboardInterrupt

    return called


@pytest.mark.parametrize("form", FILE_COMPRESSIONS)
@pytest.mark.parametrize("target", ["pathlib.Path.replace", "shutil.rmtree", "os.fsync", "h5py.File"])
def test_wherever_an_export_is_killed_the_next_one_ends_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, target: str
) -> None:
    store = store_in(tmp_path / "feats")
    export_hdf5(store, tmp_path / "whole" / "toy.h5", compression=form)
    module, _, name = target.rpartition(".")
    owner = {"pathlib.Path": Path, "shutil": shutil, "os": os, "h5py": h5py}[module]
    killed = 0
    for at in itertools.count():
        file = tmp_path / str(at) / "toy.h5"
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dying(at, getattr(owner, name)))
            try:
                export_hdf5(store, file, compression=form)
            except KeyboardInterrupt:
                killed += 1
        export_hdf5(store, file, compression=form)
        assert names(file.parent) == {"toy.h5"}
        assert file.read_bytes() == (tmp_path / "whole" / "toy.h5").read_bytes()
        if killed == at:
            break
    assert killed or (target == "shutil.rmtree" and form == "none")


@pytest.mark.parametrize("damage", ["cut", "text", "digest", "place"])
def test_what_a_killed_export_laid_out_is_laid_out_anew_where_it_was_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    store, file = store_in(tmp_path / "feats"), tmp_path / "toy.h5"
    with monkeypatch.context() as patch:
        patch.setattr(export, "sound_map", dying(40, sound_map))
        with pytest.raises(KeyboardInterrupt):
            export_hdf5(store, file)
    (left,) = tmp_path.glob(".toy.h5.*.partial")
    if damage == "digest":
        with h5py.File(left, "r+") as opened:
            opened["digest"][3] = 0
    elif damage == "place":
        places = Hdf5Source(left).offset
        assert places is not None
        first, second = (int(place).to_bytes(8, "little") for place in places[3])
        left.write_bytes(left.read_bytes().replace(first, second))
    else:
        left.write_bytes(b"text" if damage == "text" else left.read_bytes()[:-100])
    assert export_hdf5(store, file) == 0
    assert damaged_clips(FeatureCache.open(file)) == []


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("damage", ["bit", "zeros", "type", "length"])
def test_an_array_that_is_not_what_was_written_is_named(tmp_path: Path, name: str, damage: str) -> None:
    """Zeros in ``state`` would be clips that are pending: other episodes, and other numbers."""
    store, file = store_in(tmp_path / "feats"), tmp_path / "toy.h5"
    export_hdf5(store, file)
    with h5py.File(file, "r+") as opened:
        values, kept = opened[name][:], opened[name].attrs["sha256"]
        if damage == "bit":
            raw = values.view(np.uint8).reshape(-1)
            raw[len(raw) // 2] ^= 4
            opened[name][:] = values
        elif damage == "zeros":
            opened[name][2:6] = 1 - (values[2:6] != 0)
        else:
            del opened[name]
            opened[name] = values[:-1] if damage == "length" else values.view(values.dtype.newbyteorder(">"))
            opened[name].attrs["sha256"] = kept
    if damage == "type" and np.array_equal(values, values.view(values.dtype.newbyteorder(">"))):
        assert np.array_equal(Hdf5Source(file).column(name), values)
        return
    with pytest.raises(DamagedCacheError, match=f"array '{name}' is not what was written"):
        Hdf5Source(file).column(name)


@pytest.mark.parametrize(("attribute", "value"), [("shard_size", 0), ("compression", "zip"), ("ta2n", "{}")])
def test_an_attribute_that_is_not_what_was_written_is_refused(tmp_path: Path, attribute: str, value: object) -> None:
    export_hdf5(store_in(tmp_path / "feats"), tmp_path / "toy.h5")
    with h5py.File(tmp_path / "toy.h5", "r+") as opened:
        opened.attrs[attribute] = value
    with pytest.raises(DamagedCacheError, match=r"toy.h5: (says that its store had|its manifest is not what was)"):
        FeatureCache.open(tmp_path / "toy.h5")


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    """One that an older ta2n exported."""
    store = store_in(tmp_path / "feats")
    export_hdf5(store, tmp_path / "toy.h5")
    with h5py.File(tmp_path / "toy.h5", "r+") as opened:
        del opened.attrs["ta2n_sha256"]
        for name in COLUMNS:
            del opened[name].attrs["sha256"]
    assert damaged_clips(FeatureCache.open(tmp_path / "toy.h5")) == []
    assert export_hdf5(store, tmp_path / "toy.h5") == MAPS
