"""What a head gets: the test view's centres, or random views and frames in training."""

import numpy as np
import pytest
import tiny_cache
import torch

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader

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
    assert torch.equal(maps, cache.read([5])[:, :, [1, 5]]) or torch.equal(maps, cache.read([5])[:, :, [2, 6]])


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
