"""Which episodes a result is of: a digest of the clips that met, by name and in their roles.

Two results may be subtracted episode by episode only where these are equal. As many episodes of the same seed are not
enough: a clip that turned up later is drawn too, and changes nearly all of them.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ta2n.pipeline.episodes.sampling import Episode, EpisodeSequence


class Watched:
    """A sequence of episodes that notes which ones were taken from it.

    Args:
        episodes: the sequence.
        ids: (videos,) name of each row's clip.
    """

    def __init__(self, episodes: EpisodeSequence, ids: NDArray[np.str_]) -> None:
        self._episodes, self._ids = episodes, ids
        self._digest, self._taken = hashlib.sha256(), 0
        self._codes, self._coded = np.zeros(len(ids), "<u8"), np.zeros(len(ids), np.bool_)

    @property
    def shot(self) -> int:
        """K, of every episode."""
        return self._episodes.shot

    @property
    def rows(self) -> NDArray[np.int64]:
        """Every row that may occur, in ascending order."""
        return self._episodes.rows

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the episodes from 0 to the last one taken; the same for every store that holds the clips."""
        return self._digest.hexdigest()

    def take(self, count: int, start: int = 0) -> Iterator[Episode]:
        """The episodes ``start`` to ``start + count - 1``; those taken before are not noted again."""
        for number, episode in enumerate(self._episodes.take(count, start), start):
            if number == self._taken:
                self._note(episode)
            yield episode

    def _note(self, episode: Episode) -> None:
        self._taken += 1
        self._digest.update(np.array([len(episode.support), len(episode.query)], "<i8").tobytes())
        for rows in (episode.support, episode.query):
            self._digest.update(self._codes_of(rows).tobytes())
        self._digest.update(episode.query_labels.astype("<i8").tobytes())

    def _codes_of(self, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        """A number for each clip, made of its name."""
        for row in rows[~self._coded[rows]].tolist():
            # A name of bytes that are no UTF-8 holds surrogates.
            name = str(self._ids[row]).encode(errors="surrogatepass")
            self._codes[row] = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")
            self._coded[row] = True
        codes: NDArray[np.uint64] = self._codes[rows]
        return codes


def fingerprint(episodes: EpisodeSequence, count: int, ids: NDArray[np.str_]) -> str:
    """The fingerprint of the first ``count`` episodes: see :attr:`Watched.fingerprint`."""
    watched = Watched(episodes, ids)
    for _ in watched.take(count):
        pass
    return watched.fingerprint
