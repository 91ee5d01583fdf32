"""Per-video results: the same wherever they are kept, and nothing left behind."""

import shutil
import tempfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_cache
import torch

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.evaluation.embeddings import Embeddings, embed_all
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.heads import Head, build_head

ROWS = np.arange(100, 140)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def loader(tmp_path: Path) -> MapLoader:
    path = tiny_cache.write_cache(tmp_path, map_shape=(6, 4, 7, 7))
    return MapLoader(FeatureCache.open(path), frames=4, device=torch.device("cpu"))


@pytest.fixture
def head() -> Head:
    return build_head("ta2n", channels=6, frames=4, size=7, init="random").eval()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def kept_by(head: Head, loader: MapLoader, memory_bytes: int | None) -> Embeddings:
    with torch.inference_mode():
        kept = embed_all(head, loader, ROWS, 1, memory_bytes)
    assert kept is not None
    return kept


@pytest.mark.parametrize("indices", [[39, 0, 17, 17], [12, 13, 14, 15], [7], [3, 2, 1, 0], [0, 2], []])
def test_consecutive_rows_and_others_are_taken_alike(head: Head, loader: MapLoader, indices: list[int]) -> None:
    kept = kept_by(head, loader, None)
    every = kept.take(np.arange(40))
    for name, tensor in kept.take(np.array(indices, np.int64)).items():
        assert torch.equal(tensor, every[name][indices])


@pytest.mark.parametrize(("memory_bytes", "in_file"), [(None, False), (1 << 30, False), (1000, True)])
def test_what_is_taken_is_what_the_head_gives(
    head: Head,
    loader: MapLoader,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    memory_bytes: int | None,
    in_file: bool,
) -> None:
    folders: list[str] = []
    temporary_file = tempfile.TemporaryFile

    def watched(**options: Any) -> Any:
        folders.append(str(options["dir"]))
        return temporary_file(**options)

    monkeypatch.setattr(tempfile, "TemporaryFile", watched)
    kept = kept_by(head, loader, memory_bytes)
    assert len(kept) == 40
    indices = np.array([39, 0, 17, 17])
    with torch.inference_mode():
        expected = head.embed(loader.test(ROWS[indices]), shot=1)
    taken = kept.take(indices)
    assert taken.keys() == expected.keys()
    for name, tensor in expected.items():
        assert taken[name].dtype == tensor.dtype
        torch.testing.assert_close(taken[name], tensor, rtol=1e-5, atol=1e-6)
    assert set(folders) == ({str(temporary)} if in_file else set())
    assert not list(temporary.iterdir())  # a file without a name goes with its last user


def test_a_disk_too_full_for_the_file(
    head: Head, loader: MapLoader, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.inference_mode():
        size = sum(tensor.nbytes for tensor in head.embed(loader.test(ROWS), shot=1).values())
    for free, fits in ((2 * size, True), (size, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: Usage(free, 0, free))
        with torch.inference_mode():
            assert (embed_all(head, loader, ROWS, 1, 0) is not None) == fits


def test_the_file_goes_where_it_is_asked_for(head: Head, loader: MapLoader, temporary: Path, tmp_path: Path) -> None:
    used: list[Path] = []

    class Watched(Scratch):
        def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
            used.append(self.folder)
            return super().empty(shape, dtype)

    with torch.inference_mode():
        kept = embed_all(head, loader, ROWS, 1, 0, Watched(tmp_path))
    assert kept is not None
    assert set(used) == {tmp_path}
    assert set(tmp_path.iterdir()) == {temporary, loader.cache.path}
