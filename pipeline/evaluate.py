"""Accuracy of a head over many episodes, with the work of one video done once."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.embeddings import Embeddings, embed_all
from ta2n.pipeline.episodes import Episode, EpisodeSequence
from ta2n.pipeline.heads import Head
from ta2n.pipeline.loader import MapLoader

_RUN = 64
_BLOCK = {"cpu": 16, "cuda": 64}
"""Clips on a side of a block of pairs: what a processor's cache holds, what fills a card."""
_DENSE = 0.6
"""Share of a block's pairs that episodes must ask for before all of them together cost less than those alone."""

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
    changes a distance by more than rounding.

    Args:
        head: any head; put into evaluation mode for the call and back afterwards.
        loader: reads its maps.
        episodes: the sequence to draw from.
        count: how many.
        memory_bytes: for the per-video results; beyond it they go to a temporary file, see :func:`embed_all`, and only
            where that has no room either are they computed again for every episode, which is slow. None is half of
            what is free.
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
        embeddings = embed_all(head, loader, rows, episodes.shot, memory_bytes)
        if embeddings is None:
            return _one_by_one(head, loader, drawn, episodes.shot, on_episodes)
        drawn = [_renumber(one, rows) for one in drawn]
        if episodes.shot == 1:
            return _by_pairs(head, embeddings, drawn, on_episodes)
        return _from_embeddings(head, embeddings, drawn, episodes.shot, on_episodes)
    finally:
        head.train(was_training)


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
    head: Head, embeddings: Embeddings, drawn: Sequence[Episode], shot: int, on_episodes: OnEpisodes | None
) -> NDArray[np.float64]:
    accuracies = np.empty(len(drawn))
    for place, episode in enumerate(drawn):
        support, query = embeddings.take(episode.support), embeddings.take(episode.query)
        accuracies[place] = accuracy(head.compare(support, query, shot=shot), episode.query_labels)
        if on_episodes:
            on_episodes(place + 1)
    return accuracies


def _by_pairs(
    head: Head, embeddings: Embeddings, drawn: Sequence[Episode], on_episodes: OnEpisodes | None
) -> NDArray[np.float64]:
    """One shot: each (support, query) pair once."""
    codes = np.stack([one.support[None, :] * len(embeddings) + one.query[:, None] for one in drawn])
    pairs, place = np.unique(codes, return_inverse=True)
    supports, queries = np.divmod(pairs, len(embeddings))
    distances = np.empty(len(pairs), np.float32)
    done = 0
    for chosen, found in _compared(head, embeddings, supports, queries):
        distances[chosen] = found
        done += len(found)
        if on_episodes:
            on_episodes(len(drawn) * done // len(pairs))
    table = torch.from_numpy(distances[place].reshape(codes.shape))
    return np.array([accuracy(one, episode.query_labels) for one, episode in zip(table, drawn, strict=True)])


def _compared(
    head: Head, embeddings: Embeddings, supports: NDArray[np.int64], queries: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Which of the pairs, sorted by support, and their distances, until all are done."""
    all_supports, all_queries = np.unique(supports), np.unique(queries)
    if len(supports) >= _DENSE * len(all_supports) * len(all_queries):
        yield from _in_blocks(head, embeddings, supports, queries, all_supports, all_queries)
        return
    for start, stop in _runs(supports, _RUN):
        support = embeddings.take(supports[start : start + 1])
        column = head.compare(support, embeddings.take(queries[start:stop]), shot=1)
        yield np.arange(start, stop), column[:, 0].float().cpu().numpy()


def _in_blocks(
    head: Head,
    embeddings: Embeddings,
    supports: NDArray[np.int64],
    queries: NDArray[np.int64],
    all_supports: NDArray[np.int64],
    all_queries: NDArray[np.int64],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """All pairs of some supports with some queries together, asked for or not: every map is read for many of them."""
    side = _BLOCK[embeddings.device.type]
    for first in range(0, len(all_supports), side):
        rows = all_supports[first : first + side]
        support = embeddings.take(rows)
        chosen = np.arange(*np.searchsorted(supports, [rows[0], rows[-1] + 1]))
        block = np.empty((len(all_queries), len(rows)), np.float32)
        for start in range(0, len(all_queries), side):
            some = all_queries[start : start + side]
            block[start : start + side] = head.compare(support, embeddings.take(some), shot=1).float().cpu().numpy()
        places = np.searchsorted(all_queries, queries[chosen]), np.searchsorted(rows, supports[chosen])
        yield chosen, block[places]


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


def _renumber(episode: Episode, rows: NDArray[np.int64]) -> Episode:
    places = np.searchsorted(rows, episode.support), np.searchsorted(rows, episode.query)
    return Episode(*places, query_labels=episode.query_labels, classes=episode.classes)
