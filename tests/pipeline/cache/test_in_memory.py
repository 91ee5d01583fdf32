"""Maps that stay: the same values, only where they fit, only where asked for."""

from pathlib import Path

import numpy as np
import pytest
import tiny_cache
import torch
from hypothesis import given
from hypothesis import strategies as st

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache import in_memory as module
from ta2n.pipeline.cache.in_memory import InMemory, keep

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return FeatureCache.open(tiny_cache.write_cache(tmp_path_factory.mktemp("c"), map_shape=(2, 4, 3, 3), views=3))


@given(data=st.data())
def test_reading_what_is_kept_is_reading_the_store(cache: FeatureCache, data: st.DataObject) -> None:
    usable = st.integers(0, 40)
    kept = np.array(data.draw(st.lists(usable, min_size=1, max_size=90, unique=True)))
    rows = np.array(data.draw(st.lists(st.sampled_from(kept.tolist()), min_size=1, max_size=9)))
    views = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows))))
    held = InMemory(cache, kept, CPU)
    assert held.holds(rows)
    assert torch.equal(held.read(rows, views), cache.read(rows, views))
    assert held.holds(np.array([41])) is False


def test_where_it_pays(cache: FeatureCache, tmp_path: Path) -> None:
    rows = np.arange(10)
    assert keep(cache, rows, "auto", CPU) is None
    assert keep(cache, rows, "disk", CPU) is None
    assert isinstance(keep(cache, rows, "ram", CPU), InMemory)
    packed = FeatureCache.open(tiny_cache.write_cache(tmp_path, map_shape=(2, 4, 3, 3), compression="zstd"))
    assert isinstance(keep(packed, rows, "auto", CPU), InMemory)


def test_what_does_not_fit(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda device: 1000)
    with pytest.raises(InputError, match=r"--cache-in ram: 10 clips .* use --cache-in disk"):
        keep(cache, np.arange(10), "ram", CPU)
    assert keep(cache, np.arange(10), "auto", CPU) is None
    with pytest.raises(InputError, match="'vram' is not known"):
        keep(cache, np.arange(10), "vram", CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_the_gpu(cache: FeatureCache) -> None:
    held = keep(cache, np.arange(10), "auto", torch.device("cuda"))
    assert isinstance(held, InMemory)
    rows, views = np.array([3, 1]), np.array([0, 2])
    assert torch.equal(held.read(rows, views).cpu(), cache.read(rows, views))
