"""Accuracy of a head over many episodes, with the work of one video done once."""

import enum
import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.episodes import Episode, EpisodeSequence
from ta2n.pipeline.evaluation.embeddings import Embeddings, embed_all
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.heads import Head

_BLOCK = {"cpu": 24, "cuda": 64}
"""Clips on a side of a block of pairs: measured fastest on a processor; what fills a GPU."""
_DENSE = 0.6
"""How often episodes must ask for a pair before all pairs in blocks cost less than those asked for, by episode."""

OnEpisodes = Callable[[int], None]

_LOG = logging.getLogger(__name__)


class Strategy(enum.Enum):
    """What is shared between episodes."""

    BLOCKS = "every pair of videos compared once, in blocks"
    EPISODES = "videos embedded once, compared episode by episode"
    ANEW = "videos embedded anew for every episode, for want of memory and disk"


@torch.inference_mode()
def evaluate(
    head: Head,
    loader: MapLoader,
    episodes: EpisodeSequence,
    count: int,
    *,
    memory_bytes: int | None = None,
    scratch: Scratch | None = None,
    on_episodes: OnEpisodes | None = None,
) -> NDArray[np.float64]:
    """Evaluates a head on episodes 0 to ``count - 1``.

    What a head computes from one video alone is computed once and kept when it fits in memory. With one shot a distance
    belongs to a pair of videos, unless the head looks at whole episodes: where episodes ask for most pairs, all of them
    are compared, once, however many episodes a pair occurs in (:func:`strategy`). Neither changes a distance by
    more than rounding.

    Args:
        head: any head; put into evaluation mode for the call and back afterwards.
        loader: reads its maps.
        episodes: the sequence to draw from.
        count: how many.
        memory_bytes: for the per-video results; beyond it they go to a temporary file, see :func:`embed_all`, and only
            where the disk does not take it either are they computed again for every episode, which is slow. None is
            half of what is free.
        scratch: where that file goes; None is the system's folder for temporary files.
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
        embeddings = embed_all(head, loader, rows, episodes.shot, memory_bytes, scratch)
        chosen = strategy(drawn, kept=embeddings is not None, pairwise=head.pairwise, shot=episodes.shot)
        _LOG.debug("%d episodes of %d videos: %s", count, len(rows), chosen.value)
        if embeddings is None:
            return _one_by_one(head, loader, drawn, episodes.shot, on_episodes)
        drawn = [_renumber(one, rows) for one in drawn]
        if chosen is Strategy.BLOCKS:
            return _in_blocks(head, embeddings, drawn, on_episodes)
        return _from_embeddings(head, embeddings, drawn, episodes.shot, on_episodes)
    finally:
        head.train(was_training)


def strategy(drawn: Sequence[Episode], *, kept: bool, pairwise: bool, shot: int) -> Strategy:
    """How episodes are evaluated with the least work.

    Args:
        drawn: the episodes.
        kept: whether what a head makes of each video alone could be kept.
        pairwise: whether a distance depends on its own query and class alone (:attr:`Head.pairwise`).
        shot: K.
    """
    if not kept:
        return Strategy.ANEW
    if pairwise and shot == 1 and _asked_for(drawn) >= _DENSE:
        return Strategy.BLOCKS
    return Strategy.EPISODES


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


def _in_blocks(
    head: Head, embeddings: Embeddings, drawn: Sequence[Episode], on_episodes: OnEpisodes | None
) -> NDArray[np.float64]:
    """One shot: every pair of a support and a query once, asked for or not; a block reads each map for many pairs."""
    supports, queries = (np.unique([getattr(one, role) for one in drawn]) for role in ("support", "query"))
    side = _BLOCK[embeddings.device.type]
    table = np.empty((len(queries), len(supports)), np.float32)
    for left in range(0, len(supports), side):
        support = embeddings.take(supports[left : left + side])
        for top in range(0, len(queries), side):
            query = embeddings.take(queries[top : top + side])
            block = head.compare(support, query, shot=1)
            table[top : top + side, left : left + side] = block.float().cpu().numpy()
        if on_episodes:
            on_episodes(len(drawn) * min(left + side, len(supports)) // len(supports))
    accuracies = np.empty(len(drawn))
    for place, one in enumerate(drawn):
        chosen = np.ix_(np.searchsorted(queries, one.query), np.searchsorted(supports, one.support))
        accuracies[place] = accuracy(torch.from_numpy(table[chosen]), one.query_labels)
    return accuracies


def _asked_for(drawn: Sequence[Episode]) -> float:
    """How often episodes compare a pair of one of their supports and one of their queries, on average."""
    supports, queries = (len(np.unique([getattr(one, role) for one in drawn])) for role in ("support", "query"))
    return sum(len(one.support) * len(one.query) for one in drawn) / (supports * queries)


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
