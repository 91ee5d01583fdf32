"""Reading compressed chunks through the shard's own index: the same maps as zarr's, and an error for what is none."""

from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import tiny_cache
import torch
import zarr
import zarr.codecs
from hypothesis import given, settings
from hypothesis import strategies as st

from ta2n.cache_schema.errors import DamagedCacheError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.shards import shard_file

SHAPE = (6, 4, 3, 3)
MAPS = tiny_cache.maps_of(tiny_cache.table(), SHAPE, views=2)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureCache]:
    names = ("none", "zstd", "lz4")
    root = tmp_path_factory.mktemp("cache")
    paths = {name: tiny_cache.write_cache(root / name, compression=name, views=2) for name in names}
    return {name: FeatureCache.open(path) for name, path in paths.items()}


views_and_rows = st.lists(st.tuples(st.integers(0, 143), st.integers(0, 1)), max_size=20)


@given(name=st.sampled_from(["none", "zstd", "lz4"]), wanted=views_and_rows)
@settings(deadline=None)
def test_every_compression_gives_the_same_maps(
    stores: dict[str, FeatureCache], name: str, wanted: list[tuple[int, int]]
) -> None:
    rows, views = [row for row, _ in wanted], [view for _, view in wanted]
    assert np.array_equal(stores[name].read(rows, views).numpy(), MAPS[rows, views])
    out = torch.full((len(rows), *SHAPE), torch.nan, dtype=torch.float16)
    stores[name].source.read(wanted, out)
    assert np.array_equal(out.numpy(), MAPS[rows, views])


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_it_reads_what_zarr_reads(stores: dict[str, FeatureCache], name: str) -> None:
    features = zarr.open_group(stores[name].path, mode="r")["features"]
    assert isinstance(features, zarr.Array)
    for row in (0, 9, 143):
        assert np.array_equal(stores[name].read([row], 1)[0].numpy(), np.asarray(features[row, 1]))


def test_chunks_of_a_codec_that_only_zarr_knows(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path)
    group = zarr.open_group(path, mode="r+")
    features = group["features"]
    assert isinstance(features, zarr.Array)
    assert features.shards is not None
    group.create_array(
        "features",
        data=np.asarray(features[:]),
        chunks=features.chunks,
        shards=features.shards,
        compressors=zarr.codecs.GzipCodec(),
        overwrite=True,
    )
    cache = FeatureCache.open(path)
    assert cache.compressed
    assert np.array_equal(cache.read(range(144)), tiny_cache.maps_of(tiny_cache.table(), SHAPE)[:, 0])


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_a_broken_header_never_shows_what_was_there_before(tmp_path: Path, name: str) -> None:
    path = tiny_cache.write_cache(tmp_path, compression=name)
    file = shard_file(path / "features", 2)
    sound = file.read_bytes()
    start = int.from_bytes(sound[-164:-156], "little")
    errors = 0
    for at in range(16):
        raw = bytearray(sound)
        raw[start + at] ^= 0x55
        file.write_bytes(bytes(raw))
        source = FeatureCache.open(path).source
        buffers = [torch.full((1, *SHAPE), before, dtype=torch.float16) for before in (1, 2)]
        try:
            for buffer in buffers:
                source.read([(20, 0)], buffer)
        except DamagedCacheError:
            errors += 1
        else:
            assert torch.equal(*buffers)
    assert errors > 8


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_a_map_of_another_length_is_an_error(tmp_path: Path, name: str) -> None:
    path = tiny_cache.write_cache(tmp_path, compression=name)
    small = tiny_cache.write_cache(tmp_path / "small", compression=name, map_shape=(3, 4, 3, 3))
    shard_file(path / "features", 0).write_bytes(shard_file(small / "features", 0).read_bytes())
    with pytest.raises(DamagedCacheError, match="216 bytes, expected 432"):
        FeatureCache.open(path).read([0])
    with pytest.raises(DamagedCacheError, match="decoded"):
        FeatureCache.open(path).read(range(10))


def test_an_index_that_points_outside_a_compressed_shard(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path, compression="zstd")
    file = shard_file(path / "features", 0)
    raw = bytearray(file.read_bytes())
    raw[-164:-156] = (1 << 40).to_bytes(8, "little")
    raw[-4:] = google_crc32c.value(bytes(raw[-164:-4])).to_bytes(4, "little")
    file.write_bytes(bytes(raw))
    with pytest.raises(DamagedCacheError, match=r"row 0 has .* bytes at 1099511627776"):
        FeatureCache.open(path).read([0])


@pytest.mark.parametrize("name", ["none", "zstd", "lz4"])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("inference", [False, True])
def test_several_threads_give_the_same_maps(
    stores: dict[str, FeatureCache], name: str, wide: bool, inference: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ta2n.pipeline.cache.local._BYTES_PER_THREAD", 1)
    rows = np.random.default_rng(0).integers(0, 144, 50)
    cache = FeatureCache.open(stores[name].path)
    with torch.inference_mode(inference):
        found = cache.read(rows, 1, dtype=torch.float32 if wide else torch.float16).numpy()
    assert np.array_equal(found, MAPS[rows, 1].astype(found.dtype))


def test_an_error_in_a_thread_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ta2n.pipeline.cache.local._BYTES_PER_THREAD", 1)
    path = tiny_cache.write_cache(tmp_path, compression="lz4")
    file = shard_file(path / "features", 1)
    raw = bytearray(file.read_bytes())
    raw[int.from_bytes(raw[-164:-156], "little") + 4] ^= 1
    file.write_bytes(bytes(raw))
    with pytest.raises(DamagedCacheError, match="row 10 cannot be decoded"):
        FeatureCache.open(path).read(range(20))
