"""What episodes ask for of a head, and what is therefore computed once for all of them."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ta2n.pipeline.episodes import Episode, EpisodeSequence

_DENSE = 0.6
"""How often episodes must ask for a pair before all pairs in blocks cost less than those asked for, by episode."""
_TABLE_BYTES = 2 << 30
"""What the distances of all pairs may take; 23,000 × 23,000 of them."""

Rows = NDArray[np.int64]


class Strategy(enum.Enum):
    """What is shared between episodes."""

    BLOCKS = "every pair of videos compared once, in blocks"
    EPISODES = "videos embedded once, compared episode by episode"
    ANEW = "videos embedded anew for every episode, for want of room"


@dataclass(frozen=True)
class Asked:
    """What some episodes ask for.

    Attributes:
        rows: videos, in ascending order.
        supports: those of them that are a support.
        queries: those that are a query.
        pairs: of a support and a query of one episode, over all episodes.
    """

    rows: Rows
    supports: Rows
    queries: Rows
    pairs: int

    @property
    def density(self) -> float:
        """How often a pair is asked for, on average; 0 where there is no room for the distances of all pairs."""
        every = len(self.supports) * len(self.queries)
        return self.pairs / every if 4 * every <= _TABLE_BYTES else 0.0


def strategy(density: float, *, kept: bool, pairwise: bool, shot: int) -> Strategy:
    """How episodes are evaluated with the least work.

    Args:
        density: of what they ask for, :attr:`Asked.density`.
        kept: whether what a head makes of each video alone could be kept.
        pairwise: whether a distance depends on its own query and class alone (:attr:`Head.pairwise`).
        shot: K.
    """
    if not kept:
        return Strategy.ANEW
    return Strategy.BLOCKS if pairwise and shot == 1 and density >= _DENSE else Strategy.EPISODES


def asked_for(drawn: Sequence[Episode]) -> Asked:
    """What episodes ask for."""
    supports, queries = (np.unique([getattr(one, role) for one in drawn]) for role in ("support", "query"))
    pairs = sum(len(one.support) * len(one.query) for one in drawn)
    return Asked(np.union1d(supports, queries), supports, queries, pairs)


def may_ask_for(episodes: EpisodeSequence, count: int) -> Asked:
    """What so many episodes ask for that every video and pair is taken to occur."""
    first, rows = next(episodes.take(1)), episodes.rows
    return Asked(rows, rows, rows, count * len(first.support) * len(first.query))
