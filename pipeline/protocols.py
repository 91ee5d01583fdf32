"""Named protocols: the settings that a published line of work trains and tests with."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Training and test settings that go together; every one can be overridden by a flag.

    Attributes:
        episodes_per_epoch: training episodes in an epoch.
        accumulate: episodes whose gradients make one optimiser step.
        learning_rate: of plain SGD.
        dropout: probability on the cached maps.
        train_queries: query clips a class in training.
        test_queries: query clips a class in test.
        test_episodes: episodes of a reported result.
    """

    episodes_per_epoch: int
    accumulate: int
    learning_rate: float
    dropout: float
    train_queries: int
    test_queries: int
    test_episodes: int


PROTOCOLS = {
    "ta2n-paper": Protocol(
        episodes_per_epoch=200,
        accumulate=16,
        learning_rate=1e-3,
        dropout=0.5,
        train_queries=5,
        test_queries=1,
        test_episodes=10_000,
    ),
}
"""``ta2n-paper``: TA2N (AAAI 2022), section Implementation details."""
