"""Accuracy of a head over many episodes, with the work of one video done once."""

import itertools
import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.episodes import Episode, EpisodeSequence
from ta2n.pipeline.heads import Embedding, Head
from ta2n.pipeline.loader import MapLoader

_EMBED_BATCH = 16
_COMPARE_BATCH = 64

OnEpisodes = Callable[[int], None]


@torch.inference_mode()
def evaluate(
    head: Head,
    loader: MapLoader,
    episodes: EpisodeSequence,
    count: int,
    *,
    memory_bytes: int | None = None,
    on_episodes: OnEpisodes | None = None,
) -> NDArray[np.float64]:
    """Evaluates a head on episodes 0 to ``count - 1``.

    What a head computes from one video alone is computed once and kept when it fits in memory; with one shot a distance
    belongs to a pair of videos, so every pair is also compared only once, however many episodes it occurs in. Neither
    changes a distance.

    Args:
        head: any head; put into evaluation mode for the call and back afterwards.
        loader: reads its maps.
        episodes: the sequence to draw from.
        count: how many.
        memory_bytes: for the per-video results; beyond it they are computed again for every episode, which is slow.
            None is half of this machine's memory.
        on_episodes: called with the number of episodes finished so far (an equivalent share of the pairs).

    Returns:
        (count,) accuracy of each episode, 0 to 1.

    Raises:
        InputError: ``count`` is below 1, or the head gives distances that are not finite.
    """
    if count < 1:
        raise InputError(f"{count} episodes asked for, expected at least 1")
    was_training = head.training
    head.eval()
    try:
        drawn = list(episodes.take(count))
        rows = np.unique(np.concatenate([np.concatenate([one.support, one.query]) for one in drawn]))
        limit = half_of_memory() if memory_bytes is None else memory_bytes
        embeddings = _embed_all(head, loader, rows, episodes.shot, limit)
        if embeddings is None:
            return _one_by_one(head, loader, drawn, episodes.shot, on_episodes)
        drawn = [_renumber(one, rows) for one in drawn]
        if episodes.shot == 1:
            return _by_pairs(head, embeddings, drawn, on_episodes)
        return _from_embeddings(head, embeddings, drawn, episodes.shot, on_episodes)
    finally:
        head.train(was_training)


def half_of_memory() -> int:
    """Half of this machine's memory in bytes; 4 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return 4 << 30


def _embed_all(
    head: Head, loader: MapLoader, rows: NDArray[np.int64], shot: int, memory_bytes: int
) -> Embedding | None:
    """The embedding of every row in ``rows``' order, or None where all of them together exceed ``memory_bytes``."""
    parts: list[Embedding] = []
    for start in range(0, len(rows), _EMBED_BATCH):
        parts.append(head.embed(loader.test(rows[start : start + _EMBED_BATCH]), shot=shot))
        size = sum(tensor.nbytes for tensor in parts[0].values()) / len(next(iter(parts[0].values())))
        if size * len(rows) > memory_bytes:
            return None
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _one_by_one(
    head: Head, loader: MapLoader, drawn: Sequence[Episode], shot: int, on_episodes: OnEpisodes | None
) -> NDArray[np.float64]:
    accuracies = np.empty(len(drawn))
    for place, episode in enumerate(drawn):
        distances = head(loader.test(episode.support), loader.test(episode.query), shot=shot)
        accuracies[place] = accuracy(distances, episode.query_labels)
        if on_episodes:
            on_episodes(place + 1)
    return accuracies


def _from_embeddings(
    head: Head, embeddings: Embedding, drawn: Sequence[Episode], shot: int, on_episodes: OnEpisodes | None
) -> NDArray[np.float64]:
    accuracies = np.empty(len(drawn))
    for place, episode in enumerate(drawn):
        support, query = _take(embeddings, episode.support), _take(embeddings, episode.query)
        accuracies[place] = accuracy(head.compare(support, query, shot=shot), episode.query_labels)
        if on_episodes:
            on_episodes(place + 1)
    return accuracies


def _by_pairs(
    head: Head, embeddings: Embedding, drawn: Sequence[Episode], on_episodes: OnEpisodes | None
) -> NDArray[np.float64]:
    """One shot: each (support, query) pair once, all queries of a support clip together."""
    videos = len(next(iter(embeddings.values())))
    codes = np.stack([one.support[None, :] * videos + one.query[:, None] for one in drawn])
    pairs, place = np.unique(codes, return_inverse=True)
    supports, queries = np.divmod(pairs, videos)
    distances = np.empty(len(pairs), np.float32)
    for start, stop in _runs(supports, _COMPARE_BATCH):
        support = _take(embeddings, supports[start : start + 1])
        column = head.compare(support, _take(embeddings, queries[start:stop]), shot=1)
        distances[start:stop] = column[:, 0].float().cpu().numpy()
        if on_episodes:
            on_episodes(len(drawn) * stop // len(pairs))
    table = torch.from_numpy(distances[place].reshape(codes.shape))
    return np.array([accuracy(one, episode.query_labels) for one, episode in zip(table, drawn, strict=True)])


def _runs(values: NDArray[np.int64], longest: int) -> list[tuple[int, int]]:
    """(start, stop) of every stretch of equal values, cut to at most ``longest``."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [
        (cut, min(cut + longest, stop))
        for start, stop in itertools.pairwise(edges)
        for cut in range(start, stop, longest)
    ]


def accuracy(distances: Tensor, query_labels: NDArray[np.int64]) -> float:
    """Share of queries whose nearest class is their own, from (Q, N) distances.

    Raises:
        InputError: a distance is not finite: no class is nearest then, and any choice would look like a result.
    """
    if not bool(torch.isfinite(distances).all()):
        raise InputError("the head gave distances that are not finite; has its training diverged? lower --lr")
    nearest = distances.argmin(dim=1).cpu().numpy()
    return float((nearest == query_labels).mean())


def _take(embeddings: Embedding, places: NDArray[np.int64]) -> Embedding:
    return {name: tensor[places] for name, tensor in embeddings.items()}


def _renumber(episode: Episode, rows: NDArray[np.int64]) -> Episode:
    places = np.searchsorted(rows, episode.support), np.searchsorted(rows, episode.query)
    return Episode(*places, query_labels=episode.query_labels, classes=episode.classes)
