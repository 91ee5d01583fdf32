"""Named protocols: the settings that a published line of work extracts, trains and tests with."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings that go together; every one can be overridden by a recipe or a flag.

    Attributes:
        rule: which frames of a clip, a key of :data:`ta2n.pipeline.clips.RULES`.
        resize: of a frame: ``256x256``, or ``short-256`` where its aspect is kept.
        normalise: ``backbone`` (the mean and deviation its weights want; ImageNet's for ResNets) or ``none``.
        flip: whether random views may be mirrored; never where left and right are labels, whatever this says.
        episodes_per_epoch: training episodes in an epoch.
        accumulate: episodes whose gradients make one optimiser step.
        optimizer: ``sgd`` or ``adam``.
        learning_rate: of the optimiser.
        dropout: probability on the cached maps.
        train_queries: query clips a class in training.
        test_queries: query clips a class in test.
        test_episodes: episodes of a reported result.
        note: where ours differs from what was published; printed when the protocol is used.
    """

    rule: str
    resize: str
    normalise: str
    flip: bool = True
    episodes_per_epoch: int = 200
    accumulate: int = 16
    optimizer: str = "sgd"
    learning_rate: float = 1e-3
    dropout: float = 0.5
    train_queries: int = 5
    test_queries: int = 1
    test_episodes: int
    note: str = ""


PROTOCOLS = {
    "ta2n-paper": Protocol(rule="tsn", resize="256x256", normalise="backbone", test_episodes=10_000),
    "ta2n-code": Protocol(
        rule="linspace",
        resize="short-256",
        normalise="none",
        test_episodes=3_000,
        note="the published code keeps the weights that do best on the test list; ours are chosen on val, as always",
    ),
    "trx": Protocol(rule="linspace", resize="short-256", normalise="none", test_episodes=10_000),
}
"""``ta2n-paper``: TA2N (AAAI 2022), section Implementation details. ``ta2n-code``: what its published code does.
``trx``: the line of work from OTAM and TRX on."""
