"""Backbones: networks that turn one image into a feature map, with named, hashed weights."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.features import efficientnet_lite as lite
from ta2n.pipeline.features.networks import (
    Backbone,
    at_layer,
    frozen,
    network_of,
    require_layer,
    resnet_trunk,
    weights_sha256,
)
from ta2n.pipeline.features.plan import BackboneSpec
from ta2n.pipeline.features.tuned import is_tuned, read_tuned, tuned_network
from ta2n.pipeline.features.weights import read_state_dict

__all__ = [
    "Backbone",
    "frozen",
    "load_backbone",
    "load_unfolded",
    "rebuild",
    "require_backbone",
    "trained_network",
    "weights_sha256",
]

_DOWNLOAD_TIMEOUT_SECONDS = 30


_Weights = tuple[nn.Module, str]
"""A whole network with weights, and their name as the manifest records it."""


def load_backbone(name: str, weights: str | None = None, *, seed: int = 0, layer: str | None = None) -> Backbone:
    """Loads a backbone by name.

    Args:
        name: one of :data:`~ta2n.pipeline.features.networks.NETWORKS`.
        weights: a published set by name (``imagenet1k-v1``, ``imagenet1k-v2``), the path of a state dict, or
            ``random``, which has to be asked for; None takes the backbone's usual ImageNet weights.
        seed: of random weights.
        layer: whose maps are taken, by the backbone's own names; None is its last.

    Raises:
        InputError: the name, the weights or the layer are unknown, or a state dict does not fit.
        MissingError: the weights cannot be downloaded here, or an optional package is missing.
    """
    found = load_unfolded(name, weights, seed=seed, layer=layer)
    return Backbone(found.spec, frozen(network_of(name).part(found.module, None, found.spec.layer)))


def load_unfolded(name: str, weights: str | None = None, *, seed: int = 0, layer: str | None = None) -> Backbone:
    """Loads a backbone as it can be trained: the whole network, its batch norm in place, in evaluation mode.

    Arguments and errors are those of :func:`load_backbone`; the layer is the spec's alone.
    """
    require_backbone(name, layer)
    if weights is not None and is_tuned(Path(weights)):
        raise InputError(f"{weights}: holds a fine-tuned backbone beside its head; give it with --checkpoint instead")
    module, label = _LOADERS[name](name, weights, seed)
    network = network_of(name)
    spec = BackboneSpec(
        name=name,
        weights=label,
        # Of the whole network, so that the layers behind the stored one are known to be the same, too.
        weights_sha256=weights_sha256(module),
        layer=network.last,
        channels=network.layers[network.last][0],
        mean=network.mean,
        std=network.std,
        image_size=network.image_size,
        source=weights,
        seed=seed,
    )
    return Backbone(at_layer(spec, layer), module.eval())


def require_backbone(name: str, layer: str | None = None) -> None:
    """Refuses a name that is no backbone's, and a layer that it has not.

    Raises:
        InputError: lists those there are.
    """
    require_layer(name, layer)


def rebuild(spec: BackboneSpec) -> nn.Module:
    """The network that a spec describes, up to its layer, frozen.

    Raises:
        InputError: its weights are others than the spec's, for instance because the file has changed.
        MissingError: its weights are not there.
    """
    return frozen(network_of(spec.name).part(trained_network(spec), None, spec.layer))


def trained_network(spec: BackboneSpec) -> nn.Module:
    """The whole network that a spec describes, whatever its layer: batch norm in place, in evaluation mode.

    Raises:
        InputError: its weights are others than the spec's, for instance because the file has changed.
        MissingError: its weights are not there.
    """
    if spec.source is not None and is_tuned(Path(spec.source)):
        return tuned_network(spec, read_tuned(Path(spec.source))[1])
    require_backbone(spec.name, spec.layer)
    module = _LOADERS[spec.name](spec.name, spec.source, spec.seed)[0]
    if (found := weights_sha256(module)) != spec.weights_sha256:
        raise InputError(
            f"the weights {spec.source or spec.weights!r} of {spec.name} are others than planned (sha256 "
            f"{found[:12]}, expected {spec.weights_sha256[:12]}); give this machine the same file"
        )
    return module.eval()


def _resnet(name: str, weights: str | None, seed: int) -> _Weights:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Without zero-initialised residual branches, random weights overflow float16 by the last stage.
        network = torchvision.models.get_model(name, weights=None, zero_init_residual=True)
    label = weights or "imagenet1k-v1"
    if label == "random":
        label = f"random (seed {seed})"
    elif looks_like_a_file(label):
        label = Path(label).name
        _load_strictly(network, read_state_dict(Path(weights or "")), source=str(weights), ignored=("fc.",))
    else:
        _load_strictly(network, _published_weights(name, label), source=label, ignored=("fc.",))
    return resnet_trunk(network), label


def _efficientnet_lite0(name: str, weights: str | None, seed: int) -> _Weights:
    label = weights or "imagenet"
    module: nn.Module
    if label == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module, label = lite.EfficientNetLite0().eval(), f"random (seed {seed})"
            for layer in module.modules():
                if isinstance(layer, nn.Conv2d):
                    # torch's default is made for other gains: 18 blocks of it give maps of 1e-8.
                    nn.init.kaiming_normal_(layer.weight)
    elif label == "imagenet":
        module = lite.efficientnet_lite0(lite.efficientnet_lite0_weights())
    elif looks_like_a_file(label):
        module, label = lite.efficientnet_lite0(Path(label)), Path(label).name
    else:
        raise InputError(f"{name} has no weights {label!r}; choose imagenet, random, or the path of a state dict")
    return module, label


_LOADERS: dict[str, Callable[[str, str | None, int], _Weights]] = {
    "resnet50": _resnet,
    "resnet18": _resnet,
    "resnet34": _resnet,
    "resnet101": _resnet,
    "efficientnet-lite0": _efficientnet_lite0,
}


def looks_like_a_file(weights: str) -> bool:
    """Whether weights are asked for by a file, rather than by a name."""
    return Path(weights).suffix in (".pth", ".pt", ".safetensors", ".bin") or "/" in weights or Path(weights).is_file()


def _published_weights(name: str, label: str) -> dict[str, Tensor]:
    choices = {member.name.lower().replace("_", "-"): member for member in torchvision.models.get_model_weights(name)}
    if label not in choices:
        raise InputError(
            f"{name} has no weights {label!r}; choose one of {', '.join(choices)}, random, or the path of a state dict"
        )
    try:
        with _socket_timeout():
            state: dict[str, Tensor] = choices[label].get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise MissingError(
            f"the {label} weights of {name} are not in torch's cache and cannot be downloaded here ({error}); "
            f"give a local copy of {choices[label].url.rsplit('/', 1)[-1]} with --weights FILE, use "
            "--backbone efficientnet-lite0, whose weights come as a package, or --weights random to try the run only"
        ) from error
    return state


@contextmanager
def _socket_timeout() -> Iterator[None]:
    # torch's download has no timeout of its own: without one an unreachable network hangs the run.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _load_strictly(network: nn.Module, state: dict[str, Tensor], *, source: str, ignored: tuple[str, ...]) -> None:
    """Loads ``state``; only tensors whose names begin with one of ``ignored`` may be missing, left over or misfit."""
    own = {name: value for name, value in network.state_dict().items() if not name.startswith(ignored)}
    given = {name: value for name, value in state.items() if not name.startswith(ignored)}
    problems = [f"missing {name}" for name in own.keys() - given.keys() if not name.endswith("num_batches_tracked")]
    problems += [f"unexpected {name}" for name in given.keys() - own.keys()]
    problems += [
        f"{name} has shape {tuple(given[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own.keys() & given.keys()
        if own[name].shape != given[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(f"{source}: does not fit the backbone: {'; '.join(sorted(problems)[:3])}{more}")
    network.load_state_dict(given, strict=False)
