"""Accuracy of a head over many episodes, with the work of one video done once."""

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache.in_memory import free_bytes
from ta2n.pipeline.episodes import Episode, EpisodeSequence
from ta2n.pipeline.evaluation.embeddings import Embeddings, EvalMaps, embed_all
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.evaluation.strategy import Asked, Rows, Strategy, asked_for, may_ask_for, strategy
from ta2n.pipeline.heads import Head

_BLOCK = {"cpu": 24, "cuda": 64}
"""Clips on a side of a block of pairs: measured fastest on a processor; what fills a card."""
_HELD = 20_000
"""Episodes that are drawn once and held (20 MB); more are drawn piece by piece, and what they ask for is not known."""
_PIECE = 1000
_RESULT_BYTES = 24
"""Of an episode: its accuracy, and what the mean and deviation of all take besides."""

OnEpisodes = Callable[[int], None]

_LOG = logging.getLogger(__name__)


@torch.inference_mode()
def evaluate(
    head: Head,
    loader: EvalMaps,
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
    more than rounding. Of more than 20,000 episodes only a few are in memory at a time, and every video that may occur
    takes part.

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
        InputError: ``count`` is below 1 or its results do not fit in memory, or the head gives distances that are not
            finite.
    """
    _check_count(count)
    was_training = head.training
    head.eval()
    try:
        drawn = list(episodes.take(count)) if count <= _HELD else None
        asked = asked_for(drawn) if drawn else may_ask_for(episodes, count)
        embeddings = embed_all(head, loader, asked.rows, episodes.shot, memory_bytes, scratch)
        chosen = strategy(asked.density, kept=embeddings is not None, pairwise=head.pairwise, shot=episodes.shot)
        _LOG.debug("%d episodes of %d videos: %s", count, len(asked.rows), chosen.value)
        pieces = iter([drawn]) if drawn else _pieces(episodes, count)
        if embeddings is None:
            return _one_by_one(head, loader, pieces, count, episodes.shot, on_episodes)
        if chosen is Strategy.EPISODES:
            return _from_embeddings(head, embeddings, asked.rows, pieces, count, episodes.shot, on_episodes)
        return _in_blocks(head, embeddings, asked, pieces, count, on_episodes)
    finally:
        head.train(was_training)


def _check_count(count: int) -> None:
    if count < 1:
        raise InputError(f"{count} episodes asked for, expected at least 1")
    needed = count * _RESULT_BYTES
    # What is free takes half a second to find out: not for the usual numbers.
    if needed > 1 << 28 and needed > (free := free_bytes(torch.device("cpu"))):
        raise InputError(
            f"the results of {count} episodes take {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; "
            "ask for fewer"
        )


def _pieces(episodes: EpisodeSequence, count: int) -> Iterator[list[Episode]]:
    """The episodes, some at a time."""
    for start in range(0, count, _PIECE):
        yield list(episodes.take(min(_PIECE, count - start), start))


def _one_by_one(
    head: Head,
    loader: EvalMaps,
    pieces: Iterator[list[Episode]],
    count: int,
    shot: int,
    on_episodes: OnEpisodes | None,
) -> NDArray[np.float64]:
    def distances(one: Episode) -> Tensor:
        return head(loader.test(one.support), loader.test(one.query), shot=shot)  # type: ignore[no-any-return]

    return _by_episode(distances, pieces, count, on_episodes)


def _from_embeddings(
    head: Head,
    embeddings: Embeddings,
    rows: Rows,
    pieces: Iterator[list[Episode]],
    count: int,
    shot: int,
    on_episodes: OnEpisodes | None,
) -> NDArray[np.float64]:
    def distances(one: Episode) -> Tensor:
        support, query = (embeddings.take(np.searchsorted(rows, part)) for part in (one.support, one.query))
        return head.compare(support, query, shot=shot)

    return _by_episode(distances, pieces, count, on_episodes)


def _by_episode(
    distances: Callable[[Episode], Tensor],
    pieces: Iterator[list[Episode]],
    count: int,
    on_episodes: OnEpisodes | None,
) -> NDArray[np.float64]:
    accuracies = np.empty(count)
    place = 0
    for piece in pieces:
        for one in piece:
            accuracies[place] = accuracy(distances(one), one.query_labels)
            place += 1
            if on_episodes:
                on_episodes(place)
    return accuracies


def _in_blocks(
    head: Head,
    embeddings: Embeddings,
    asked: Asked,
    pieces: Iterator[list[Episode]],
    count: int,
    on_episodes: OnEpisodes | None,
) -> NDArray[np.float64]:
    """One shot: the distances of all pairs first, then episodes that look theirs up."""
    # Looking up takes a moment for as many as are held; beyond them it is what takes long.
    share = min(count, _HELD)
    table = _distances(head, embeddings, asked, lambda part: on_episodes(int(share * part)) if on_episodes else None)
    accuracies = np.empty(count)
    done = 0
    for piece in pieces:
        accuracies[done : done + len(piece)] = _looked_up(table, asked, piece)
        done += len(piece)
        if on_episodes and share < count:
            on_episodes(share + (count - share) * done // count)
    return accuracies


def _distances(
    head: Head, embeddings: Embeddings, asked: Asked, on_share: Callable[[float], None]
) -> NDArray[np.float32]:
    """(queries, supports) distances, asked for or not: a block of them reads each embedding for many pairs."""
    supports, queries = (np.searchsorted(asked.rows, rows) for rows in (asked.supports, asked.queries))
    side = _BLOCK[embeddings.device.type]
    table = np.empty((len(queries), len(supports)), np.float32)
    for left in range(0, len(supports), side):
        support = embeddings.take(supports[left : left + side])
        for top in range(0, len(queries), side):
            query = embeddings.take(queries[top : top + side])
            block = head.compare(support, query, shot=1)
            table[top : top + side, left : left + side] = block.float().cpu().numpy()
        on_share(min(left + side, len(supports)) / len(supports))
    return table


def _looked_up(table: NDArray[np.float32], asked: Asked, piece: Sequence[Episode]) -> NDArray[np.float64]:
    """(E,) accuracies of episodes of one shape."""
    support = np.searchsorted(asked.supports, np.stack([one.support for one in piece]))
    query = np.searchsorted(asked.queries, np.stack([one.query for one in piece]))
    labels = np.stack([one.query_labels for one in piece])
    found = np.empty(len(piece))
    for start in range(0, len(piece), _PIECE):
        few = slice(start, start + _PIECE)
        distances = table[query[few, :, None], support[few, None, :]]
        _refuse_not_finite(bool(np.isfinite(distances).all()))
        found[few] = (distances.argmin(axis=2) == labels[few]).mean(axis=1)
    return found


def accuracy(distances: Tensor, query_labels: NDArray[np.int64]) -> float:
    """Share of queries whose nearest class is their own, from (Q, N) distances.

    Raises:
        InputError: a distance is not finite: no class is nearest then, and any choice would look like a result.
    """
    _refuse_not_finite(bool(torch.isfinite(distances).all()))
    nearest = distances.argmin(dim=1).cpu().numpy()
    return float((nearest == query_labels).mean())


def _refuse_not_finite(finite: bool) -> None:
    if not finite:
        raise InputError("the head gave distances that are not finite; has its training diverged? lower --lr")
