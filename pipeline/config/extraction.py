"""The options of ``ta2n extract``: what is extracted, and how this machine does it."""

from dataclasses import dataclass

from ta2n.pipeline.config.options import MOST_SEED, check, option


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """What decides the features of a data set; every field is an :class:`~ta2n.pipeline.config.options.Option`."""

    backbone: str = option(
        "resnet50", help="resnet50, resnet18, resnet34, resnet101 or efficientnet-lite0.", metavar="NAME"
    )
    weights: str | None = option(
        None,
        help="imagenet1k-v1 (the ResNets' default), imagenet1k-v2, a file with a state dict, or random.",
        metavar="NAME|FILE",
    )
    layer: str | None = option(
        None,
        help="Whose maps are kept: layer1 to layer4 of ResNets, blocks0 to blocks15 or head of EfficientNet-Lite0.",
        metavar="NAME",
        shown="the last",
    )
    frames: int = option(8, help="Frames T of a clip; above 8, training draws them anew.", low=1, high=4096)
    rule: str = option(
        "tsn", help="Which frames: tsn (the paper's) or linspace (its code's).", protocol="rule", metavar="NAME"
    )
    frame_pattern: str | None = option(
        None,
        help="Which images of a clip's folder are its frames, as 'img_*', where there are others.",
        metavar="PATTERN",
    )
    resize: str = option(
        "256x256",
        help="Of a frame: HEIGHTxWIDTH, or short-256 for its short side.",
        protocol="resize",
        metavar="SIZE",
    )
    normalise: str = option(
        "backbone",
        help="backbone (as its weights want) or none (pixels from 0 to 1).",
        choices=("backbone", "none"),
        protocol="normalise",
        metavar="NAME",
    )
    views: int = option(
        1, help="Views of a clip: one deterministic, the others random frames, crops and flips.", low=1, high=1000
    )
    # None: the protocol's, wherever a mirrored clip still shows its class.
    flip: bool | None = option(
        None,
        help="Mirror half of the random views. Never where left and right are labels.",
        off="no-flip",
        shown="flip, but never ssv2-otam and ssv2-cmn",
    )
    seed: int = option(0, help="Seed of everything random.", low=0, high=MOST_SEED)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ExtractMachine:
    """How a machine extracts; the features are the same, but for the rounding of a compiled backbone."""

    batch_size: int | None = option(
        None,
        help="Frames in one forward pass; bounds memory.",
        low=1,
        high=100_000,
        recipe=None,
        shown="8 on a CPU, 128 on a GPU",
    )
    workers: int = option(0, help="Decoding processes; 0 takes one per core.", low=0, high=1024, recipe=None)
    deadline: float = option(30.0, help="Seconds after which a clip's decoding is given up.", above=0, recipe=None)
    shard_size: int = option(64, help="Clips per file: what a killed run can lose.", low=1, recipe=None)
    compression: str = option(
        "none",
        help="none (fastest to read), zstd or lz4.",
        choices=("none", "zstd", "lz4"),
        recipe=None,
        metavar="NAME",
    )
    retry_failed: bool = option(
        False,
        help="Try again the clips that failed before.",
        off="no-retry-failed",
        recipe=None,
        shown="no-retry-failed",
    )
    compiled: bool | None = option(
        None,
        help="Let torch compile the backbone first: some seconds, and a fifth faster on a CPU.",
        flag="compile",
        off="no-compile",
        recipe=None,
        shown="on a CPU with a C++ compiler, for 500 clips and more",
    )

    def __post_init__(self) -> None:
        check(self)
