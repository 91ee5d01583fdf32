"""What a head gets: the frames that the store's rule takes, or random views and frames in training."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tiny_cache
import torch

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.cache.writer import CacheWriter
from ta2n.pipeline.clips import RULES, view_indices

CPU = torch.device("cpu")
SHAPE = (2, 8, 1, 1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return FeatureCache.open(tiny_cache.write_cache(tmp_path_factory.mktemp("c"), map_shape=SHAPE, views=3))


def test_as_many_frames_as_stored_is_the_stored_map(cache: FeatureCache) -> None:
    rows = np.array([3, 0, 3])
    assert torch.equal(MapLoader(cache, frames=8, device=CPU).test(rows), cache.read(rows))


def test_fewer_frames_are_segment_centres_in_test(cache: FeatureCache) -> None:
    maps = MapLoader(cache, frames=2, device=CPU).test(np.array([5]))
    assert torch.equal(maps, cache.read([5])[:, :, [2, 6]])


def test_training_draws_a_view_and_one_frame_of_each_segment(cache: FeatureCache) -> None:
    loader = MapLoader(cache, frames=2, device=CPU)
    stored = torch.stack([cache.read([5], view)[0] for view in range(3)])  # (V, C, T, H, W)
    seen: set[tuple[int, int, int]] = set()
    generator = np.random.default_rng(0)
    for _ in range(900):
        maps = loader.train(np.array([5]), generator)[0]
        matches = [
            (view, first, second)
            for view in range(3)
            for first in range(4)
            for second in range(4, 8)
            if torch.equal(maps, stored[view][:, [first, second]])
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 3 * 4 * 4


def test_training_is_a_function_of_the_generator(cache: FeatureCache) -> None:
    loader = MapLoader(cache, frames=4, device=CPU)
    rows = np.arange(6)
    first, again, other = (loader.train(rows, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_more_frames_than_stored(cache: FeatureCache) -> None:
    with pytest.raises(InputError, match="9 frames asked for, the store has 8"):
        MapLoader(cache, frames=9, device=CPU)


COUNTS = (160, 37, 16, 5)
STORED = 16


def numbered_store(folder: Path, rule: str) -> FeatureCache:
    """Clips of several lengths whose maps hold the numbers of their frames; two views of each."""
    videos = tiny_cache.table(classes_per_split=1, clips_per_class=len(COUNTS))
    about = dataclasses.replace(tiny_cache.manifest(videos, views=2), sampling={"rule": rule, "frames": STORED})
    shape = (1, STORED, 1, 1)
    writer = CacheWriter(folder / "n.zarr", about, videos, map_shape=shape, shard_size=9, compression="none")
    for rows, _ in writer.unfinished():
        shard = writer.load(rows)
        for row in rows:
            count = COUNTS[row % len(COUNTS)]
            known = rule if rule in RULES else "tsn"
            index = view_indices(known, frame_count=count, frames=STORED, views=2, seed=0, clip_id=str(row))
            maps = index.astype(np.float16).reshape(2, *shape)
            shard.put(row, maps, frame_index=index, frame_count=count, fps=25.0)
        writer.commit(shard)
    return FeatureCache.open(folder / "n.zarr")


@pytest.mark.parametrize("rule", [*sorted(RULES), "imported"])
def test_fewer_frames_are_those_that_the_rule_takes_of_the_clip_or_the_nearest(tmp_path: Path, rule: str) -> None:
    cache, known = numbered_store(tmp_path, rule), RULES[rule if rule in RULES else "tsn"]
    rows = np.array([3, 0, 1, 2])
    equal = 0
    for frames in range(1, STORED + 1):
        found = MapLoader(cache, frames=frames, device=CPU).test(rows)[:, 0, :, 0, 0].int().tolist()
        for row, taken in zip(rows.tolist(), found, strict=True):
            stored, direct = known.test(COUNTS[row], STORED), known.test(COUNTS[row], frames)
            if set(direct.tolist()) <= set(stored.tolist()):
                assert taken == direct.tolist()
                equal += 1
            assert np.abs(np.array(taken) - direct).tolist() == np.abs(stored - direct[:, None]).min(1).tolist()
    assert equal > STORED  # a clip of no more frames than are stored gives exactly what is extracted directly


def test_training_takes_frames_of_its_own_view(tmp_path: Path) -> None:
    cache = numbered_store(tmp_path, "linspace")
    index = cache.frame_index([0])[0].tolist()
    loader, seen = MapLoader(cache, frames=4, device=CPU), set()
    for seed in range(20):
        taken = loader.train(np.array([0]), np.random.default_rng(seed))[0, 0, :, 0, 0].int().tolist()
        assert taken == sorted(taken)
        seen |= {view for view in (0, 1) if set(taken) <= set(index[view])}
    assert seen == {0, 1}


def test_frames_taken_by_a_rule_that_is_not_known(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path, map_shape=SHAPE)
    cache = FeatureCache.open(path)
    cache.manifest = dataclasses.replace(cache.manifest, sampling={"rule": "dense"})
    with pytest.raises(InputError, match="Unknown sampling rule 'dense'"):
        MapLoader(cache, frames=2, device=CPU).test(np.array([0]))
