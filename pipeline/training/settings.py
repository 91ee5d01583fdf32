"""What a training run is asked to do, and how far it is. Imports nothing heavy: ``ta2n --help`` reads the options."""

from dataclasses import dataclass, field
from typing import Any

from ta2n.pipeline.config.options import MOST_CLIPS, MOST_SEED, check, option

OPTIMIZERS = ("sgd", "adam")
OBJECTIVES = ("episodic", "base")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the result of a training run on a given cache; most fields are options of ``ta2n train-head``.

    The default of a field must mean what was done before there was the field: a run whose checkpoint lacks it is taken
    for one with the default.

    Attributes:
        method: name of the head.
        options: further arguments of :func:`build_head`.
        way: N.
        shot: K.
        queries: query clips a class, in training and validation.
        frames: T of the head.
        epochs: at most this many.
        episodes_per_epoch: training episodes in each.
        accumulate: episodes to an optimiser step; the loss is summed over queries and divided by this.
        objective: ``episodic`` (the head's loss on episodes) or ``base`` (a cosine classifier over the base classes,
            on batches of as many clips as an episode has).
        optimizer: ``sgd`` (the paper's, no momentum) or ``adam``.
        learning_rate: of the optimiser.
        val_episodes: on the val split after each epoch, to select the best weights; 0 keeps the last ones.
        patience: epochs without a better val accuracy before the run stops.
        seed: of everything random.
        clip_norm: a step's gradients are scaled down to this norm; 0 leaves them.

    Raises:
        InputError: a value is of another type or out of its range.
    """

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    way: int = option(5, help="Classes N in an episode.", low=2, high=MOST_CLIPS)
    shot: int = option(1, help="Support clips K of a class.", low=1, high=MOST_CLIPS, recipe=None)
    queries: int = option(5, help="Query clips of a class.", low=1, high=MOST_CLIPS, protocol="train_queries")
    frames: int = option(8, help="Frames T of the head.", low=1, high=4096, shown="8, or as many as are cached")
    epochs: int = option(10, help="At most this many epochs.", low=1)
    episodes_per_epoch: int = option(
        200, help="Training episodes in an epoch.", low=1, protocol="episodes_per_epoch", recipe="episodes"
    )
    accumulate: int = option(16, help="Episodes to an optimiser step.", low=1, protocol="accumulate")
    objective: str = option(
        "episodic",
        help="episodic, or base: a classifier over the base classes.",
        choices=OBJECTIVES,
        metavar="NAME",
        shown="the method's",
    )
    optimizer: str = option(
        "sgd", help="sgd (the paper's) or adam.", choices=OPTIMIZERS, protocol="optimizer", metavar="NAME"
    )
    learning_rate: float = option(1e-3, help="Learning rate.", above=0, protocol="learning_rate", recipe="lr")
    val_episodes: int = option(
        200,
        help="Episodes on the val split after each epoch, to keep the best weights; 0 for none.",
        low=0,
        high=1_000_000,
    )
    patience: int = option(10, help="Stop after this many epochs without a better val accuracy.", low=1)
    seed: int = option(0, help="Seed of everything random.", low=0, high=MOST_SEED)
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """Options of heads that every method's training takes; they end in :attr:`Settings.options`.

    Attributes:
        dropout: probability on the maps, for the heads that have it.
        project: channels that a learned 1×1 projection in front of the head makes; 0 for none. None leaves it to the
            machine: see :func:`ta2n.pipeline.commands.settings.run_settings`.
    """

    dropout: float = option(0.5, help="Dropout on the cached maps.", low=0, high=0.99, protocol="dropout")
    project: int | None = option(
        None,
        help="Put a learned 1×1 projection to this many channels before the head; 0 for none.",
        low=0,
        high=65_536,
        shown="on a CPU, 256 for a head that learns, where more channels are cached; else 0",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        episode: training episodes done.
        best_val: best val accuracy so far, from before the first step on.
        best_epoch: after which epoch; 0 is the untrained head.
        loss: mean loss a query over this epoch's episodes so far.
        terms: of a loss of several terms, the mean of each a query likewise.
        accuracy: mean training accuracy likewise.
        val: val accuracies, one an epoch, from epoch 0.
        history: what ``metrics.jsonl`` says of each epoch, from epoch 0.
    """

    episode: int = 0
    best_val: float = -1.0
    best_epoch: int = 0
    loss: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)
    accuracy: float = 0.0
    val: list[float] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
