"""The options of ``ta2n evaluate``: the episodes of a test."""

from dataclasses import dataclass

from ta2n.pipeline.config.options import MOST_CLIPS, MOST_SEED, check, option


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """The test episodes; every field is an :class:`~ta2n.pipeline.config.options.Option`."""

    way: int = option(5, help="Classes N.", low=2, high=MOST_CLIPS, shown="as trained, or 5")
    shot: int = option(1, help="Support clips K.", low=1, high=MOST_CLIPS, shown="as trained, or 1")
    queries: int = option(1, help="Query clips of a class.", low=1, high=MOST_CLIPS, protocol="test_queries")
    episodes: int = option(
        10_000,
        help="Test episodes.",
        low=1,
        protocol="test_episodes",
        flag="test_episodes",
        old="episodes",
    )
    seed: int = option(0, help="Seed of the episodes, and of an untrained method.", low=0, high=MOST_SEED)

    def __post_init__(self) -> None:
        check(self)
