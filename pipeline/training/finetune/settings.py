"""What a fine-tuning run is asked to do. Imports nothing heavy: ``ta2n --help`` reads the options."""

from dataclasses import dataclass

from ta2n.pipeline.config.options import MOST_CLIPS, check, option
from ta2n.pipeline.training.settings import OPTIMIZERS, Settings

BATCH_NORMS = ("frozen", "clip")
PRECISIONS = ("float32",)
KEEP = ("none", "ram", "disk")


@dataclass(frozen=True, kw_only=True)
class FineTuneSettings(Settings):
    """What decides the result of fine-tuning on a given store; most fields are options of ``ta2n finetune``.

    Those of :class:`Settings` mean what they mean there; ``learning_rate`` is that of the head.

    Attributes:
        learning_rate_backbone: of the backbone.
        weight_decay: of both.
        trainable: which part of the backbone learns, see :func:`ta2n.pipeline.training.finetune.stages.trainable`.
        batch_norm: ``frozen``, or ``clip`` for statistics of each clip alone.
        grad_clips: clips of an episode that the backbone's gradient is taken from; None is all.
        augment: whether training clips have random frames and crops.
        flip: whether these may be mirrored.
        precision: in which backbone and head compute.
    """

    way: int = option(5, help="Classes N in an episode.", low=2, high=MOST_CLIPS, shown="as trained, or 5")
    shot: int = option(1, help="Support clips K of a class.", low=1, high=MOST_CLIPS, shown="as trained, or 1")
    queries: int = option(
        5, help="Query clips of a class.", low=1, high=MOST_CLIPS, protocol="train_queries", shown="as trained, or 5"
    )
    frames: int = option(
        8, help="Frames T of the head.", low=1, high=4096, shown="as trained, or 8, or as many as are cached"
    )
    epochs: int = option(5, help="At most this many epochs.", low=1)
    episodes_per_epoch: int = option(50, help="Training episodes in an epoch.", low=1, recipe="episodes")
    accumulate: int = option(1, help="Episodes to an optimiser step.", low=1)
    objective: str = "episodic"
    optimizer: str = option("adam", help="sgd or adam.", choices=OPTIMIZERS, metavar="NAME")
    learning_rate: float = option(1e-4, help="Learning rate of the head.", above=0, recipe="lr")
    learning_rate_backbone: float = option(1e-4, help="Learning rate of the backbone.", low=0, recipe="lr_backbone")
    weight_decay: float = option(0.0, help="Weight decay of backbone and head.", low=0)
    clip_norm: float = option(0.0, help="Scale a step's gradients down to this norm; 0 leaves them.", low=0)
    # None is the last stages, whatever the backbone calls them.
    trainable: str | None = option(
        None,
        help="Which part of the backbone learns: a stage, a stage and all behind it as layer3+, or all.",
        metavar="STAGES",
        shown="layer4 of a ResNet, blocks12+ of EfficientNet-Lite0",
    )
    batch_norm: str = option(
        "frozen",
        help="Statistics of batch norm where the backbone learns: frozen, or clip (of each clip alone).",
        choices=BATCH_NORMS,
        recipe="bn",
        metavar="NAME",
    )
    grad_clips: int | None = option(
        None,
        help="Take the backbone's gradient from this many random clips of an episode; unbiased, and faster.",
        low=1,
        shown="all of them: exact",
    )
    augment: bool = option(True, help="Random frames and crops of training clips.", off="no-augment", shown="augment")
    # None: the protocol's, wherever a mirrored clip still shows its class.
    flip: bool | None = option(
        None,
        help="Mirror half of the training clips. Never where left and right are labels.",
        off="no-flip",
        shown="flip, but never ssv2-otam and ssv2-cmn",
    )
    precision: str = option("float32", help="Of backbone and head.", choices=PRECISIONS, metavar="NAME")
    patience: int = option(3, help="Stop after this many epochs without a better val accuracy.", low=1)

    def __post_init__(self) -> None:
        check(self)

    @property
    def clips(self) -> int:
        """Clips of an episode."""
        return self.way * (self.shot + self.queries)


@dataclass(frozen=True, kw_only=True)
class FineTuneMachine:
    """How a machine fine-tunes; the result is the same, but for rounding."""

    clips_at_once: int = option(
        1, help="Clips in one pass of the backbone; bounds memory.", low=1, high=10_000, recipe=None
    )
    workers: int = option(0, help="Decoding processes; 0 takes one per core.", low=0, high=1024, recipe=None)
    deadline: float = option(30.0, help="Seconds after which a clip's decoding is given up.", above=0, recipe=None)

    keep_frames: str = option(
        "none",
        help="Keep all frames of the clips once decoded: none, ram or disk (the --scratch folder).",
        choices=KEEP,
        recipe=None,
        metavar="PLACE",
    )

    def __post_init__(self) -> None:
        check(self)
