"""What the methods of a table are tested on: for one store and number of shots, the same episodes for all."""

from dataclasses import dataclass

from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.episodes.fingerprint import fingerprint
from ta2n.pipeline.evaluation.classes import SplitClasses, classes_of


@dataclass(frozen=True, kw_only=True)
class TestEpisodes:
    """The episodes that every method is tested on.

    Attributes:
        episodes: how many.
        queries: of a class.
        seed: of the episodes; their way and shot are the run's.
    """

    __test__ = False  # pytest takes the name for that of a test

    episodes: int
    queries: int
    seed: int = 0


@dataclass(frozen=True)
class DrawnEpisodes:
    """The test episodes of one way and number of shots.

    Attributes:
        drawn: the sequence.
        fingerprint: of those that the test takes.
        classes: of the test split: those that they are of, and those left out.
    """

    drawn: Episodes
    fingerprint: str
    classes: SplitClasses


class TestSplit:
    """The test split of a store, whose episodes are drawn once for all methods.

    Args:
        cache: the store; its splits stay as they are from here on.
        test: the test episodes.
    """

    __test__ = False

    def __init__(self, cache: FeatureCache, test: TestEpisodes) -> None:
        self.cache, self.test = cache, test
        self._drawn: dict[tuple[int, int], DrawnEpisodes] = {}

    def episodes(self, way: int, shot: int) -> DrawnEpisodes:
        """The test episodes of N classes and K shots.

        Raises:
            InputError: the test split cannot give them.
        """
        if (way, shot) not in self._drawn:
            self._drawn[way, shot] = self._draw(way, shot)
        return self._drawn[way, shot]

    def _draw(self, way: int, shot: int) -> DrawnEpisodes:
        queries, labels = self.test.queries, self.cache.labels("test")
        drawn = Episodes(labels, way=way, shot=shot, queries=queries, seed=self.test.seed, name="the test split")
        found = fingerprint(drawn, self.test.episodes, self.cache.videos.id)
        return DrawnEpisodes(drawn, found, classes_of(self.cache, "test", needed=shot + queries))
