"""Networks by name as they are trained: batch norm in its place, and layers at which they can be cut in two."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.features import efficientnet_lite
from ta2n.pipeline.features.fold import fold_batch_norm
from ta2n.pipeline.features.plan import IMAGENET_MEAN, IMAGENET_STD, BackboneSpec

_LAYERS = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class Backbone:
    """A frozen network, and what it is.

    Attributes:
        spec: what identifies its features.
        module: (B, 3, image_size, image_size) normalised images -> (B, C, map_size, map_size), in evaluation mode.
    """

    spec: BackboneSpec
    module: nn.Module


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is to be known of a network by its name.

    Attributes:
        build: makes the whole of it, without what classifies, with weights of torch's generator.
        layers: the layers whose maps can be taken, in order: (C, H = W); the last is the usual one.
        part: (network, after, until) -> the part of it behind one layer, None for the images, and up to another; it
            shares the network's tensors, and their names.
        mean: per channel, for images scaled to [0, 1].
        std: likewise.
        image_size: side of the images it takes, in pixels.
    """

    build: Callable[[], nn.Module]
    layers: Mapping[str, tuple[int, int]]
    part: Callable[[nn.Module, str | None, str], nn.Module]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    image_size: int = 224

    @property
    def last(self) -> str:
        """The layer that is taken where nobody asks for another."""
        return list(self.layers)[-1]


def network_of(name: str) -> Network:
    """The network of a name.

    Raises:
        InputError: there is none; lists those there are.
    """
    if name not in NETWORKS:
        raise InputError(f"backbone {name!r} is not known; choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name]


def require_layer(name: str, layer: str | None) -> str:
    """The layer that is meant: the usual one where none is named.

    Raises:
        InputError: the network has no such layer; lists those it has.
    """
    network = network_of(name)
    layer = network.last if layer is None else layer
    if layer not in network.layers:
        raise InputError(f"{name} has no layer {layer!r}; choose one of {', '.join(network.layers)}")
    return layer


def at_layer(spec: BackboneSpec, layer: str | None) -> BackboneSpec:
    """The same weights, and the maps of another layer; None is the network's last.

    Raises:
        InputError: the network has no such layer; lists those it has.
    """
    layer = require_layer(spec.name, layer)
    channels, size = network_of(spec.name).layers[layer]
    return dataclasses.replace(spec, layer=layer, channels=channels, map_size=size)


def weights_sha256(module: nn.Module) -> str:
    """SHA-256 over the name, type, shape and bytes of every tensor of a network, whatever file it came from."""
    return tensors_sha256(module.state_dict())


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """The same of a state dict."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def frozen(module: nn.Module) -> nn.Module:
    """A network for evaluation alone: without gradients, its batch norm folded; changed and returned."""
    return fold_batch_norm(module.eval().requires_grad_(False)).to(memory_format=torch.channels_last)


def resnet_trunk(network: torchvision.models.ResNet) -> nn.Sequential:
    """A ResNet up to what global pooling would average."""
    return nn.Sequential(
        *(network.conv1, network.bn1, network.relu, network.maxpool),
        *(network.layer1, network.layer2, network.layer3, network.layer4),
    )


def _resnet(name: str, expansion: int) -> Network:
    def build() -> nn.Module:
        # Without zero-initialised residual branches, random weights overflow float16 by the last stage.
        return resnet_trunk(torchvision.models.get_model(name, weights=None, zero_init_residual=True))

    sizes = {layer: (expansion * 64 * 2**number, 56 // 2**number) for number, layer in enumerate(_LAYERS)}
    return Network(build=build, layers=sizes, part=_resnet_part)


def _resnet_part(network: nn.Module, after: str | None, until: str) -> nn.Module:
    if not isinstance(network, nn.Sequential):
        raise TypeError(f"a ResNet's trunk is a Sequential, found {type(network).__name__}")
    # The stem's four come before the layers.
    first = 0 if after is None else 5 + _LAYERS.index(after)
    return network[first : 5 + _LAYERS.index(until)]


def _efficientnet_lite0() -> Network:
    lite = efficientnet_lite
    return Network(build=lite.EfficientNetLite0, layers=lite.LAYERS, part=lite.part_of, mean=lite.MEAN, std=lite.STD)


NETWORKS: dict[str, Network] = {
    "resnet50": _resnet("resnet50", 4),
    "resnet18": _resnet("resnet18", 1),
    "resnet34": _resnet("resnet34", 1),
    "resnet101": _resnet("resnet101", 4),
    "efficientnet-lite0": _efficientnet_lite0(),
}
