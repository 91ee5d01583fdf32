"""What a training run is asked to do, and how far it is."""

from dataclasses import dataclass, field
from typing import Any

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.training.objectives import OBJECTIVES

OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the result of a training run on a given cache.

    Attributes:
        method: name of the head.
        objective: ``episodic`` (the head's loss on episodes) or ``base`` (a cosine classifier over the base classes,
            on batches of as many clips as an episode has).
        options: further arguments of :func:`build_head`.
        way: N.
        shot: K.
        queries: query clips a class, in training and validation.
        frames: T of the head.
        epochs: at most this many.
        episodes_per_epoch: training episodes in each.
        accumulate: episodes to an optimiser step; the loss is summed over queries and divided by this.
        optimizer: ``sgd`` (the paper's, no momentum) or ``adam``.
        learning_rate: of the optimiser.
        val_episodes: on the val split after each epoch, to select the best weights; 0 keeps the last ones.
        patience: epochs without a better val accuracy before the run stops.
        seed: of everything random.
    """

    method: str
    objective: str = "episodic"
    options: dict[str, Any] = field(default_factory=dict)
    way: int = 5
    shot: int = 1
    queries: int = 5
    frames: int = 8
    epochs: int = 10
    episodes_per_epoch: int = 200
    accumulate: int = 16
    optimizer: str = "sgd"
    learning_rate: float = 1e-3
    val_episodes: int = 200
    patience: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "episodes_per_epoch", "accumulate", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.val_episodes < 0:
            raise InputError(f"val_episodes is {self.val_episodes}, expected 0 (no selection) or more")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f"optimizer {self.optimizer!r} is not known; choose {' or '.join(OPTIMIZERS)}")
        if self.objective not in OBJECTIVES:
            raise InputError(f"objective {self.objective!r} is not known; choose {' or '.join(OBJECTIVES)}")
        if not self.learning_rate > 0:
            raise InputError(f"learning rate is {self.learning_rate}, expected a positive number")


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
    """

    episode: int = 0
    best_val: float = -1.0
    best_epoch: int = 0
    loss: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)
    accuracy: float = 0.0
    val: list[float] = field(default_factory=list)
