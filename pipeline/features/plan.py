"""What to extract, and how, as plain data: it decides every byte of a store, and can be printed, pickled and sent.

No network is in it, only what one is: a worker on another machine builds its own from the :class:`BackboneSpec`.
Nothing here imports torch.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import ta2n
from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.manifest import Manifest
from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.clips import RULES
from ta2n.pipeline.features.preprocess import Preprocessing
from ta2n.pipeline.videos.decode import DecodeJob, decoder_version

NORMALISATIONS = ("backbone", "none")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """A frozen network by name: what identifies its features, and what is needed to build it again.

    Attributes:
        name: e.g. ``resnet50``.
        weights: name of the weights in use, as the manifest records it.
        weights_sha256: SHA-256 over their names and bytes.
        layer: the layer whose output is taken.
        channels: C of a feature map.
        mean: per channel, for images scaled to [0, 1].
        std: likewise.
        image_size: side of the images it takes, in pixels.
        map_size: H = W of its maps.
        source: the weights as they were asked for, a name or the path of a file; None for the usual ones.
        seed: of random weights.
        weights_source: where the weights come from, in words, as the manifest records it.
    """

    name: str
    weights: str
    weights_sha256: str
    layer: str
    channels: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    image_size: int = 224
    map_size: int = 7
    source: str | None = None
    seed: int = 0
    weights_source: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to extract, and how; decides every byte of the store.

    Attributes:
        dataset: name of the data set and of the store.
        videos: the rows; paths are relative to its root.
        backbone: the network, by name.
        frames: T, frames of a clip.
        rule: frame rule of ``clips.py``.
        views: V, view 0 the deterministic one.
        flip: whether random views may be mirrored.
        resize: (height, width) of a decoded frame, or the length of its short side.
        frame_pattern: which images of a clip's folder are its frames, see `list_frames`; None for all.
        normalise: ``backbone`` for the mean and deviation that its weights want, ``none`` for pixels from 0 to 1.
        seed: of the random views.

    Raises:
        InputError: a number is below 1, a name is not known, or frames are smaller than the crop.
    """

    dataset: str
    videos: VideoTable = field(repr=False)
    backbone: BackboneSpec
    frames: int = 8
    rule: str = "tsn"
    frame_pattern: str | None = None
    views: int = 1
    flip: bool = True
    resize: tuple[int, int] | int = (256, 256)
    normalise: str = "backbone"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("frames", self.frames), ("views", self.views)):
            if value < 1:
                raise InputError(f"{name} is {value}, expected at least 1")
        if self.rule not in RULES:
            raise InputError(f"frame rule {self.rule!r} is not known; choose {' or '.join(RULES)}")
        if self.frame_pattern is not None and (not self.frame_pattern or "/" in self.frame_pattern):
            raise InputError(f"frame pattern is {self.frame_pattern!r}, expected a pattern for file names like 'img_*'")
        if self.normalise not in NORMALISATIONS:
            raise InputError(f"normalise {self.normalise!r} is not known; choose {' or '.join(NORMALISATIONS)}")
        crop = self.backbone.image_size
        if min((self.resize,) if isinstance(self.resize, int) else self.resize) < crop:
            raise InputError(f"resize {self.resize} is smaller than the crop of {crop} pixels taken from it")

    @property
    def preprocessing(self) -> Preprocessing:
        """What happens to frames; flips matter only to random views."""
        own = self.normalise == "backbone"
        return Preprocessing(
            self.backbone.mean if own else (0.0, 0.0, 0.0),
            self.backbone.std if own else (1.0, 1.0, 1.0),
            resize=self.resize,
            crop=self.backbone.image_size,
            flip=self.flip and self.views > 1,
        )

    @property
    def map_shape(self) -> tuple[int, int, int, int]:
        """(C, T, H, W)."""
        return self.backbone.channels, self.frames, self.backbone.map_size, self.backbone.map_size

    @property
    def bytes(self) -> int:
        """Size of all maps, uncompressed."""
        return 2 * len(self.videos) * self.views * int(np.prod(self.map_shape))

    def path(self, row: int) -> Path:
        """Where the clip of a row lies."""
        return Path(self.videos.root) / str(self.videos.path[row])

    def job(self, row: int) -> DecodeJob:
        """What to decode for a row."""
        return DecodeJob(
            clip_id=str(self.videos.id[row]),
            path=self.path(row),
            rule=self.rule,
            frames=self.frames,
            views=self.views,
            seed=self.seed,
            size=self.resize,
            frame_pattern=self.frame_pattern,
        )

    def manifest(self) -> Manifest:
        """The manifest of the store that this plan makes."""
        # Left out where it is not given, so that it makes no store of before another one.
        pattern = {} if self.frame_pattern is None else {"frame_pattern": self.frame_pattern}
        random_view = "random frames, random crop" + (", mirrored half of the time" if self.preprocessing.flip else "")
        return Manifest(
            dataset=self.dataset,
            split_hash=self.videos.hash(),
            backbone=self.backbone.name,
            weights=self.backbone.weights,
            weights_sha256=self.backbone.weights_sha256,
            layer=self.backbone.layer,
            preprocessing=self.preprocessing.to_dict(),
            sampling={"rule": self.rule, "frames": self.frames, "seed": self.seed, **pattern},
            decoder=decoder_version(),
            views=("test frames, centre crop", *[random_view] * (self.views - 1)),
            ta2n_version=ta2n.__version__,
            weights_source=self.backbone.weights_source,
        )
