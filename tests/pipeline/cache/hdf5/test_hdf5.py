"""One file and back: the same values, the same bytes, whatever was killed or damaged on the way."""

import json
import mmap
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny_cache
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ta2n.cache_schema.errors import InputError, ManifestMismatchError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.hdf5 import export
from ta2n.pipeline.cache.hdf5 import source as hdf5
from ta2n.pipeline.cache.hdf5.export import export_hdf5
from ta2n.pipeline.cache.hdf5.restore import import_hdf5
from ta2n.pipeline.cache.hdf5.source import Hdf5Source
from ta2n.pipeline.cache.verify import damaged_clips, sound_map

SMALL = tiny_cache.table(classes_per_split=2, clips_per_class=3)


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def small_store(folder: Path, *, signal: float = 1.0, failed: tuple[int, ...] = (2,)) -> FeatureCache:
    path = tiny_cache.write_cache(folder, videos=SMALL, views=2, shard_size=5, failed=failed, signal=signal)
    return FeatureCache.open(path)


@given(
    shape=st.tuples(*[st.integers(1, 3)] * 4),
    views=st.integers(1, 3),
    shard=st.integers(1, 20),
    packed=st.sampled_from(["none", "zstd", "lz4"]),
    form=st.sampled_from(["none", "gzip", "lzf"]),
    failed=st.sets(st.integers(0, 17)),
)
@settings(max_examples=15, deadline=None)
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
        folder, videos=SMALL, map_shape=shape, views=views, shard_size=shard, compression=packed, failed=tuple(failed)
    )
    store, file = FeatureCache.open(path), folder / "toy.h5"
    assert export_hdf5(store, file, compression=form) == 0
    single = FeatureCache.open(file)
    rows = np.flatnonzero(store.done)
    view = np.arange(len(rows)) % views
    assert torch.equal(single.read(rows, view), store.read(rows, view))
    assert single.failures() == store.failures()
    assert np.array_equal(single.frame_index(rows), store.frame_index(rows))
    assert (single.manifest, single.map_shape) == (store.manifest, store.map_shape)
    assert (single.videos.checksums, single.videos.root) == (store.videos.checksums, store.videos.root)
    assert single.compressed == (form != "none")
    assert damaged_clips(single) == []
    back, kept = import_hdf5(file, folder / "back")
    assert kept == 0
    assert files(back) == files(path)
    assert import_hdf5(file, folder / "back") == (back, len(store))


@given(form=st.sampled_from(["none", "gzip"]), kills=st.lists(st.integers(1, 40), max_size=3))
@settings(max_examples=20, deadline=None)
def test_an_export_killed_at_any_map_ends_in_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, form: str, kills: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    store = small_store(folder)
    export_hdf5(store, folder / "whole.h5", compression=form)
    for kill in kills:
        left = iter(range(kill))

        def dying(*arguments: object, left: object = left) -> object:
            if next(left, None) is None:  # type: ignore[call-overload]
                raise KeyboardInterrupt
            return sound_map(*arguments)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(export, "sound_map", dying)
            if not (folder / "toy.h5").exists():
                try:
                    export_hdf5(store, folder / "toy.h5", compression=form)
                except KeyboardInterrupt:
                    assert not (folder / "toy.h5").exists()
    if not (folder / "toy.h5").exists():
        export_hdf5(store, folder / "toy.h5", compression=form)
    assert (folder / "toy.h5").read_bytes() == (folder / "whole.h5").read_bytes()
    names = sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")  # the locks of writers stay
    assert names == ["toy.h5", "toy.zarr", "whole.h5"]


@pytest.mark.parametrize(
    ("form", "step", "kept"), [("none", "_write_head", 0), ("gzip", "_write_head", 34), ("gzip", "_is_sound", 34)]
)
def test_an_export_killed_between_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, step: str, kept: int
) -> None:
    store = small_store(tmp_path)

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export, "_write_head", die)
        with pytest.raises(KeyboardInterrupt):
            export_hdf5(store, tmp_path / "toy.h5", compression=form)
    with monkeypatch.context() as patch:
        patch.setattr(export, step, die)
        with pytest.raises(KeyboardInterrupt):
            export_hdf5(store, tmp_path / "toy.h5", compression=form)
    assert export_hdf5(store, tmp_path / "toy.h5", compression=form) == kept
    assert damaged_clips(FeatureCache.open(tmp_path / "toy.h5")) == []


@pytest.mark.parametrize("form", ["none", "gzip"])
def test_what_a_killed_export_left_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    store = small_store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda self, target: None if target.name == "toy.h5" else self.rename(target))
        patch.setattr("shutil.rmtree", lambda path: None)
        export_hdf5(store, tmp_path / "toy.h5", compression=form)
    (left,) = tmp_path.glob(".toy.h5.*.partial")
    file = left if form == "none" else left / "000000005.h5"
    with h5py.File(file, "r+") as opened:
        opened["features"][1, 0] = 0
    assert export_hdf5(store, tmp_path / "toy.h5", compression=form) == (33 if form == "none" else 24)
    assert damaged_clips(FeatureCache.open(tmp_path / "toy.h5")) == []


def test_what_another_export_left_is_not_mixed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = small_store(tmp_path / "a"), small_store(tmp_path / "b", signal=3.0)
    file, neighbour = tmp_path / "toy.h5", tmp_path / ".toy.h5.h5.0123456789abcdef.partial"
    neighbour.write_bytes(b"of an export to toy.h5.h5")
    for form in ("none", "gzip"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", lambda self, target: None if target == file else self.rename(target))
            patch.setattr("shutil.rmtree", lambda path: None)
            export_hdf5(other, file, compression=form)
    assert export_hdf5(store, file) == 0
    rows = np.flatnonzero(store.done)
    assert torch.equal(FeatureCache.open(file).read(rows), store.read(rows))
    assert [path for path in tmp_path.glob(".*") if path.suffix != ".lock"] == [neighbour]


def test_maps_that_lie_across_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureCache.open(tiny_cache.write_cache(tmp_path))
    export_hdf5(store, tmp_path / "toy.h5")
    monkeypatch.setattr(hdf5, "_WINDOW_BYTES", mmap.ALLOCATIONGRANULARITY)
    single = FeatureCache.open(tmp_path / "toy.h5")
    rows = np.random.default_rng(0).permutation(len(store))
    assert torch.equal(single.read(rows), store.read(rows))
    offset = Hdf5Source(tmp_path / "toy.h5").offset
    assert offset is not None
    assert len(np.unique(offset // mmap.ALLOCATIONGRANULARITY)) > 5
    assert (offset % mmap.ALLOCATIONGRANULARITY > mmap.ALLOCATIONGRANULARITY - 432).any()


def test_a_read_never_reaches_the_file(tmp_path: Path) -> None:
    export_hdf5(small_store(tmp_path), tmp_path / "toy.h5")
    Hdf5Source(tmp_path / "toy.h5").map(3, 0)[:] = 0
    assert damaged_clips(FeatureCache.open(tmp_path / "toy.h5")) == []


def test_no_handle_is_shared_with_a_forked_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = small_store(tmp_path)
    before = h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_ALL)
    export_hdf5(store, tmp_path / "plain.h5")
    single = FeatureCache.open(tmp_path / "plain.h5")
    single.read([0, 1])
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_ALL) == before
    export_hdf5(store, tmp_path / "packed.h5", compression="lzf")
    packed = FeatureCache.open(tmp_path / "packed.h5")
    packed.read([0])
    opened: list[Path] = []
    plain_open = hdf5.open_file
    monkeypatch.setattr(hdf5, "open_file", lambda path: opened.append(path) or plain_open(path))  # type: ignore[func-returns-value]
    packed.read([1])
    assert not opened
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert torch.equal(packed.read([1]), store.read([1]))
    assert len(opened) == 1


@pytest.mark.parametrize("chunks", [None, (3, 1, 6, 4, 3, 3)])
def test_a_file_repacked_by_another_tool(tmp_path: Path, chunks: tuple[int, ...] | None) -> None:
    store = small_store(tmp_path)
    export_hdf5(store, tmp_path / "toy.h5")
    with h5py.File(tmp_path / "toy.h5", "r+") as file:
        values = file["features"][:]
        del file["features"]
        file.create_dataset("features", data=values, chunks=chunks, compression="gzip" if chunks else None)
    single = FeatureCache.open(tmp_path / "toy.h5")
    rows = np.flatnonzero(store.done)
    assert torch.equal(single.read(rows, 1), store.read(rows, 1))
    assert damaged_clips(single) == []


def test_a_killed_import_continues(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    export_hdf5(store, tmp_path / "toy.h5")

    def kill(done: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_hdf5(tmp_path / "toy.h5", tmp_path / "back", on_clips=kill)
    back, kept = import_hdf5(tmp_path / "toy.h5", tmp_path / "back")
    assert kept == 10
    assert files(back) == files(store.path)


def test_an_older_file_takes_nothing_away(tmp_path: Path) -> None:
    whole = small_store(tmp_path / "whole", failed=())
    half = small_store(tmp_path / "half", failed=(2, 7))
    (half.path / "state" / "c" / "2" / "0").unlink()
    export_hdf5(FeatureCache.open(half.path), tmp_path / "half.h5")
    before = files(whole.path)
    assert import_hdf5(tmp_path / "half.h5", tmp_path / "whole") == (whole.path, 13)
    assert files(whole.path) == before
    # The other way round it fills what failed and what was never extracted.
    export_hdf5(whole, tmp_path / "whole.h5")
    assert import_hdf5(tmp_path / "whole.h5", tmp_path / "half") == (half.path, 11)
    assert files(half.path) == before


def test_other_features_are_not_mixed(tmp_path: Path) -> None:
    export_hdf5(small_store(tmp_path / "a"), tmp_path / "toy.h5")
    tiny_cache.write_cache(tmp_path / "b")
    with pytest.raises(ManifestMismatchError, match="views"):
        import_hdf5(tmp_path / "toy.h5", tmp_path / "b")


@pytest.mark.parametrize("name", ["../escaped", "/abs", "a/b", "", ".."])
def test_a_file_cannot_name_a_store_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    file = tmp_path / "toy.h5"
    export_hdf5(small_store(tmp_path), file)
    with h5py.File(file, "r+") as opened:
        about = json.loads(opened.attrs["ta2n"]) | {"dataset": name}
        opened.attrs["ta2n"] = json.dumps(about)
        del opened.attrs["ta2n_sha256"]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="is no name of a store"):
        import_hdf5(file, tmp_path / "out" / "in")
    assert sorted(tmp_path.rglob("*")) == before
