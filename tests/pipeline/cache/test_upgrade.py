"""Stores of version 1 of the format: read as they are, and turned into version 2."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_cache
import version1_store

from ta2n.cache_schema.errors import DamagedCacheError, InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.hdf5.export import export_hdf5
from ta2n.pipeline.cache.upgrade import upgrade
from ta2n.pipeline.cache.verify import damaged_clips


def old_store(folder: Path, compression: str = "none") -> Path:
    return version1_store.downgrade(tiny_cache.write_cache(folder, views=2, failed=(5,), compression=compression))


def contents(store: Path) -> dict[str, bytes]:
    return {str(file.relative_to(store)): file.read_bytes() for file in store.rglob("*") if file.is_file()}


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_version_1_is_read_and_checked(tmp_path: Path, compression: str) -> None:
    path = old_store(tmp_path, compression)
    cache, written = FeatureCache.open(path), tiny_cache.maps_of(tiny_cache.table(), (6, 4, 3, 3), views=2)
    assert cache.manifest.schema_version == 1
    rows = np.flatnonzero(cache.done)
    assert np.array_equal(cache.read(rows, 1).numpy(), written[rows, 1])
    assert damaged_clips(cache) == []
    assert (
        cache.labels("test").tolist()
        == FeatureCache.open(tiny_cache.write_cache(tmp_path / "b", failed=(5,))).labels("test").tolist()
    )
    features = path / "features" / "c" / "2" / "/".join("00000")
    raw = bytearray(features.read_bytes())
    raw[100] ^= 1
    features.write_bytes(raw)
    with pytest.raises(DamagedCacheError):
        FeatureCache.open(path).read(rows)


def test_version_1_is_not_added_to_or_exported(tmp_path: Path) -> None:
    path = old_store(tmp_path)
    for call in (
        lambda: tiny_cache.write_cache(tmp_path, views=2),
        lambda: export_hdf5(FeatureCache.open(path), tmp_path / "a.h5"),
    ):
        with pytest.raises(InputError, match=r"version 1 of the format.*verify --upgrade"):
            call()


def test_a_changed_row_table_of_version_1_is_found(tmp_path: Path) -> None:
    path = old_store(tmp_path)
    file = path / "rows" / "c" / "0"
    file.write_bytes(file.read_bytes().replace(b'"test0"', b'"test1"', 1))
    with pytest.raises(DamagedCacheError, match="row table is not the one its manifest names"):
        FeatureCache.open(path)


def test_an_upgraded_store_is_the_one_that_would_be_written_today(tmp_path: Path) -> None:
    path, fresh = old_store(tmp_path / "old"), tiny_cache.write_cache(tmp_path / "new", views=2, failed=(5,))
    assert upgrade(path) == []
    assert contents(path) == contents(fresh)
    before = contents(path)
    assert upgrade(path) == []
    assert contents(path) == before


@pytest.mark.parametrize("calls", range(11))
def test_a_killed_upgrade_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    path, fresh = old_store(tmp_path / "old"), tiny_cache.write_cache(tmp_path / "new", views=2, failed=(5,))
    left = iter(range(calls))

    def dying(call: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **options: object) -> object:
            if threading.current_thread() is threading.main_thread() and next(left, None) is None:
                raise KeyboardInterrupt
            return call(*arguments, **options)

        return run

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "touch"):
            patch.setattr(Path, name, dying(getattr(Path, name)))
        with pytest.raises(KeyboardInterrupt):
            upgrade(path)
    upgrade(path)
    assert contents(path) == contents(fresh)
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".toy.zarr.lock", "toy.zarr"]


def test_damaged_maps_are_not_signed_anew(tmp_path: Path) -> None:
    path = old_store(tmp_path)
    (path / "features" / "c" / "2" / "/".join("00000")).unlink()
    before = contents(path)
    with pytest.raises(DamagedCacheError, match=r"10 clips are damaged.*nothing was written; add --repair"):
        upgrade(path)
    assert contents(path) == before
    assert [name for name, _ in upgrade(path, repair=True)] == FeatureCache.open(path).videos.id[20:30].tolist()
    assert np.flatnonzero(~FeatureCache.open(path).done).tolist() == [5, *range(20, 30)]
    tiny_cache.write_cache(tmp_path, views=2)
    assert damaged_clips(FeatureCache.open(path)) == []
