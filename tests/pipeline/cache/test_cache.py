"""Writing, reading and verifying stores."""

from pathlib import Path

import numpy as np
import pytest
import tiny_cache
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ta2n.cache_schema.errors import DamagedCacheError, InputError, ManifestMismatchError, MissingError
from ta2n.cache_schema.values import State
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.sources import ZarrSource
from ta2n.pipeline.cache.verify import damaged_clips
from ta2n.pipeline.cache.writer import CacheWriter

SHAPE = (6, 4, 3, 3)


@pytest.mark.parametrize("compression", ["none", "zstd", "lz4"])
@pytest.mark.parametrize("views", [1, 3])
def test_what_was_written_is_read(tmp_path: Path, compression: str, views: int) -> None:
    path = tiny_cache.write_cache(tmp_path, compression=compression, views=views)
    written = tiny_cache.maps_of(tiny_cache.table(), SHAPE, views=views)
    cache = FeatureCache.open(path)
    assert cache.compressed == (compression != "none")
    for view in range(views):
        assert np.array_equal(cache.read(range(len(cache)), view).numpy(), written[:, view])
    assert damaged_clips(cache) == []


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return FeatureCache.open(tiny_cache.write_cache(tmp_path_factory.mktemp("cache"), views=2, failed=(5, 17)))


rows_of = st.lists(st.integers(0, 143).filter(lambda row: row not in (5, 17)), max_size=20)


@given(rows=rows_of, view=st.integers(0, 1), wide=st.booleans())
@settings(deadline=None)
def test_any_rows_in_any_order(stored: FeatureCache, rows: list[int], view: int, wide: bool) -> None:
    dtype = torch.float32 if wide else torch.float16
    maps = stored.read(rows, view, dtype=dtype)
    assert maps.dtype == dtype
    written = tiny_cache.maps_of(tiny_cache.table(), SHAPE, views=2)[rows, view]
    assert np.array_equal(maps.numpy(), written.astype(maps.numpy().dtype))


def test_a_read_never_reaches_the_file(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path)
    cache = FeatureCache.open(path)
    cache.read([3]).zero_()
    assert isinstance(cache.source, ZarrSource)
    cache.source.map(3, 0)[:] = 0
    assert damaged_clips(FeatureCache.open(path)) == []


def test_failed_clips_are_named_and_never_read(stored: FeatureCache) -> None:
    assert stored.failures() == [(stored.videos.id[row], "broken on purpose") for row in (5, 17)]
    assert np.flatnonzero(~stored.done).tolist() == [5, 17]
    with pytest.raises(InputError, match="row 17\\) failed"):
        stored.read([0, 17])


@pytest.mark.parametrize(("rows", "view", "message"), [([144], 0, "0..143"), ([-1], 0, "-1"), ([0], 2, "views 0 to 1")])
def test_rows_and_views_out_of_range(stored: FeatureCache, rows: list[int], view: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        stored.read(rows, view)


def writer_of(path: Path, backbone: str = "toy", clips: int = 8) -> CacheWriter:
    table = tiny_cache.table(clips_per_class=clips)
    made = tiny_cache.manifest(table, backbone=backbone)
    return CacheWriter(path, made, table, map_shape=SHAPE, shard_size=10, compression="none")


def test_an_interrupted_store_continues_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = tiny_cache.write_cache(tmp_path / "whole")
    broken = tiny_cache.write_cache(tmp_path / "broken")
    # As a kill between the features of shard 3 and its state leaves it: everything there but the last write.
    (broken / "state" / "c" / "3" / "0").unlink()
    cache = FeatureCache.open(broken)
    assert np.flatnonzero(~cache.done).tolist() == list(range(30, 40))
    with pytest.raises(InputError, match="not extracted yet"):
        cache.read([30])
    tiny_cache.write_cache(tmp_path / "broken")
    assert contents(broken) == contents(whole)


def contents(store: Path) -> dict[str, bytes]:
    return {str(file.relative_to(store)): file.read_bytes() for file in store.rglob("*") if file.is_file()}


def test_a_shard_keeps_its_finished_rows_when_a_failed_one_is_tried_again(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path, failed=(5,))
    writer = writer_of(path)
    assert list(writer.unfinished()) == []
    writer.forget_failures()
    assert list(writer.unfinished()) == [(range(10), [5])]
    shard = writer.load(range(10))
    shard.put(5, np.ones((1, *SHAPE), np.float16), frame_index=np.zeros((1, 4), np.int32), frame_count=1, fps=25.0)
    writer.commit(shard)
    cache = FeatureCache.open(path)
    written = tiny_cache.maps_of(tiny_cache.table(), SHAPE)
    assert np.array_equal(cache.read(range(5)).numpy(), written[:5, 0])
    assert cache.read([5]).numpy().min() == 1
    assert writer.counts() == {State.PENDING: 0, State.DONE: 144, State.FAILED: 0}
    assert damaged_clips(cache) == []


def test_two_kinds_of_features_never_share_a_store(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path)
    with pytest.raises(ManifestMismatchError, match="backbone: toy -> resnet50"):
        writer_of(path, backbone="resnet50")
    with pytest.raises(ManifestMismatchError, match="clip only in the store: test/test0/7"):
        writer_of(path, clips=7)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_verify_names_the_damaged_clip(tmp_path: Path, compression: str) -> None:
    path = tiny_cache.write_cache(tmp_path, compression=compression)
    file = path / "features" / "c" / "2" / "/".join("00000")
    raw = bytearray(file.read_bytes())
    raw[100] ^= 0xFF
    file.write_bytes(bytes(raw))
    cache = FeatureCache.open(path)
    checked: list[int] = []
    damaged = damaged_clips(cache, on_clip=checked.append)
    assert len(damaged) == 1
    assert damaged[0][0] in set(cache.videos.id[20:30])
    assert checked[-1] == len(cache)


@pytest.mark.parametrize("cut", [10, 400])
def test_verify_names_every_clip_of_a_short_file(tmp_path: Path, cut: int) -> None:
    path = tiny_cache.write_cache(tmp_path)
    file = path / "features" / "c" / "2" / "/".join("00000")
    file.write_bytes(file.read_bytes()[:cut])
    damaged = damaged_clips(FeatureCache.open(path))
    assert [name for name, _ in damaged] == FeatureCache.open(path).videos.id[20:30].tolist()


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_a_missing_shard_is_an_error_not_zeros(tmp_path: Path, compression: str, check: bool) -> None:
    path = tiny_cache.write_cache(tmp_path, compression=compression)
    (path / "features" / "c" / "2" / "/".join("00000")).unlink()
    with pytest.raises(DamagedCacheError, match=r"row 25, view 0 is not there; `ta2n cache verify --repair"):
        FeatureCache.open(path, check=check).read([25])


def shard_of(path: Path, number: int) -> Path:
    return path / "features" / "c" / str(number) / "/".join("00000")


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_maps_are_compared_with_their_digests_at_every_first_reading(tmp_path: Path, compression: str) -> None:
    path = tiny_cache.write_cache(tmp_path, compression=compression)
    first, second = shard_of(path, 1), shard_of(path, 2)
    swapped = first.read_bytes(), second.read_bytes()
    first.write_bytes(swapped[1])
    second.write_bytes(swapped[0])
    cache = FeatureCache.open(path)
    cache.read(range(10))
    for _ in range(2):  # a refused map is refused again
        with pytest.raises(DamagedCacheError, match=r"clip 'train/train1/2.avi' \(row 10, view 0\) is not what was"):
            cache.read([9, 10])
    written = tiny_cache.maps_of(tiny_cache.table(), SHAPE)
    assert np.array_equal(FeatureCache.open(path, check=False).read([10])[0].numpy(), written[20, 0])


def test_shards_that_changed_places_whole_are_found(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path)
    for name in ("features", "digest", "state", "frame_index"):
        folder = path / name / "c"
        (folder / "1").rename(folder / "x")
        (folder / "2").rename(folder / "1")
        (folder / "x").rename(folder / "2")
    cache = FeatureCache.open(path)
    assert [name for name, _ in damaged_clips(cache)] == cache.videos.id[10:30].tolist()
    with pytest.raises(DamagedCacheError, match="not what was written"):
        cache.read([10])


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("check", [True, False])
def test_maps_of_zeros_are_maps(tmp_path: Path, compression: str, check: bool) -> None:
    table = tiny_cache.table()
    path = tmp_path / "toy.zarr"
    writer = CacheWriter(
        path, tiny_cache.manifest(table), table, map_shape=SHAPE, shard_size=10, compression=compression
    )
    for rows, pending in writer.unfinished():
        shard = writer.load(rows)
        for row in pending:
            maps = np.full((1, *SHAPE), row % 20 > 12, np.float16)
            shard.put(row, maps, frame_index=np.zeros((1, 4), np.int32), frame_count=4, fps=25.0)
        writer.commit(shard)
    cache = FeatureCache.open(path, check=check)
    assert damaged_clips(cache) == []
    assert cache.read(range(40)).amax((1, 2, 3, 4)).tolist() == [float(row % 20 > 12) for row in range(40)]


def test_a_class_of_other_clips_is_found_when_a_store_is_opened(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path)
    (file,) = (file for file in (path / "videos" / "label" / "c").rglob("*") if file.is_file())
    raw = bytearray(file.read_bytes())
    raw[0:4], raw[-4:] = raw[-4:], raw[0:4]
    file.write_bytes(raw)
    with pytest.raises(DamagedCacheError, match="column 'label' of its row table is not what was written"):
        FeatureCache.open(path)


@pytest.mark.parametrize("name", ["", "features", "state", "digest", "reason", "videos/id"])
def test_a_damaged_description_is_a_damaged_cache(tmp_path: Path, name: str) -> None:
    path = tiny_cache.write_cache(tmp_path, videos=tiny_cache.table(2, 2), failed=(1,))
    for text in ("", "null", "[]", "{}", '{"zarr_format": 3}', "\0", "{" * 2000):
        (path / name / "zarr.json").write_text(text)
        with pytest.raises(DamagedCacheError):
            use_all(path)


def use_all(path: Path) -> None:
    cache = FeatureCache.open(path)
    damaged_clips(cache)
    cache.failures()


def test_a_folder_of_stores(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no feature store"):
        FeatureCache.open(tmp_path)
    path = tiny_cache.write_cache(tmp_path)
    assert FeatureCache.open(tmp_path).path == path
    path.rename(tmp_path / "a.zarr")
    tiny_cache.write_cache(tmp_path)
    with pytest.raises(InputError, match="several stores \\(a, toy\\)"):
        FeatureCache.open(tmp_path)
    assert FeatureCache.open(tmp_path, "a").path == tmp_path / "a.zarr"
    with pytest.raises(MissingError, match=r"'b'.*found: a, toy"):
        FeatureCache.open(tmp_path, "b")
