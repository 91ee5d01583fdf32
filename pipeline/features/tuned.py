"""Fine-tuned backbones: the tensors that a run of ``ta2n finetune`` keeps beside its head, and networks of them."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.features.networks import Backbone, frozen, network_of, require_layer, tensors_sha256
from ta2n.pipeline.features.plan import BackboneSpec

PREFIX = "backbone."
"""What the names of a backbone's tensors begin with in the file of a run."""
_HEADER, _FIELD = "ta2n", "backbone"


def tuned_backbone(spec: BackboneSpec, tensors: Mapping[str, Tensor]) -> Backbone:
    """The frozen backbone of a fine-tuned run, up to the spec's layer.

    Args:
        spec: what it is; its hash is that of the tensors.
        tensors: of a checkpoint; those under ``backbone.`` are the network's, others are left out.

    Raises:
        InputError: the tensors are not those that the spec describes.
    """
    network = tuned_network(spec, tensors)
    return Backbone(spec, frozen(network_of(spec.name).part(network, None, spec.layer)))


def tuned_network(spec: BackboneSpec, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The whole network of a fine-tuned run, as it was trained: batch norm in place, in evaluation mode.

    Arguments and errors are those of :func:`tuned_backbone`.
    """
    require_layer(spec.name, spec.layer)
    own = {name.removeprefix(PREFIX): one for name, one in tensors.items() if name.startswith(PREFIX)}
    source = spec.source or "the checkpoint"
    if (found := tensors_sha256(own)) != spec.weights_sha256:
        raise InputError(
            f"{source}: its backbone's tensors have the sha256 {found[:12]}, expected {spec.weights_sha256[:12]}; they "
            "are others than when the run was planned or its header written; take a copy of it, or fine-tune again"
        )
    network = network_of(spec.name).build()
    _require_fit(network.state_dict(), own, spec, source)
    network.load_state_dict(own)
    return network.eval()


def _require_fit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], spec: BackboneSpec, source: str) -> None:
    for name in sorted(wanted.keys() | given.keys()):
        problem = None
        if name not in given:
            problem = f"its tensor {PREFIX}{name} is missing"
        elif name not in wanted:
            problem = f"its tensor {PREFIX}{name} is not one of {spec.name}"
        elif (given[name].shape, given[name].dtype) != (wanted[name].shape, wanted[name].dtype):
            problem = f"its tensor {PREFIX}{name} is {_described(given[name])}, expected {_described(wanted[name])}"
        if problem:
            raise InputError(f"{source}: {problem}; take a copy of the checkpoint, or fine-tune again")


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def plain_spec(spec: BackboneSpec) -> dict[str, Any]:
    """A spec as plain JSON values, for a checkpoint's header."""
    return dataclasses.asdict(spec)


def spec_of(values: object, *, source: str) -> BackboneSpec:
    """A spec from the plain values of a checkpoint's header.

    Args:
        values: what stands under ``backbone``.
        source: the checkpoint, in the error, and where the network's tensors are.

    Raises:
        InputError: a field is missing, unknown or of another kind, or there is no such network or layer.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{source}: its header's backbone is {type(values).__name__}, expected a mapping")
    known = {field.name: field for field in dataclasses.fields(BackboneSpec)}
    needed = {name for name, field in known.items() if field.default is dataclasses.MISSING}
    if odd := sorted((needed - values.keys()) | (values.keys() - known.keys())):
        raise InputError(f"{source}: its header's backbone misses or adds {', '.join(map(str, odd))}")
    for name in needed | {"image_size", "map_size"}:
        kind = int if name in ("channels", "image_size", "map_size") else str
        if name in values and (not isinstance(values[name], kind) or isinstance(values[name], bool)):
            raise InputError(f"{source}: its header's backbone.{name} is {values[name]!r}, expected {kind.__name__}")
    for name in ("mean", "std"):
        if not _is_triple(values.get(name, (0.0, 0.0, 0.0))):
            raise InputError(f"{source}: its header's backbone.{name} is {values[name]!r}, expected three numbers")
    triples = {name: tuple(map(float, values[name])) for name in ("mean", "std") if name in values}
    spec = BackboneSpec(**{**values, **triples, "source": source})
    require_layer(spec.name, spec.layer)
    return spec


def _is_triple(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(one, int | float) for one in value)


def is_tuned(file: Path) -> bool:
    """Whether a file is the checkpoint of a run that holds a backbone beside its head."""
    if file.suffix != ".safetensors" or not file.is_file():
        return False
    try:
        with safetensors.safe_open(file, framework="pt") as stored:
            header = json.loads((stored.metadata() or {}).get(_HEADER, "null"))
    except (safetensors.SafetensorError, ValueError, OSError):
        return False  # whoever reads it says what is wrong
    return isinstance(header, dict) and _FIELD in header


def read_tuned(file: Path) -> tuple[BackboneSpec, dict[str, Tensor]]:
    """The backbone's spec and tensors of a run's checkpoint, under the names that they have in it.

    Raises:
        InputError: the file is not such a checkpoint.
    """
    try:
        with safetensors.safe_open(file, framework="pt") as stored:
            header = json.loads((stored.metadata() or {})[_HEADER])
            tensors = {name: stored.get_tensor(name) for name in stored.keys() if name.startswith(PREFIX)}  # noqa: SIM118
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise InputError(f"{file}: not the checkpoint of a fine-tuned run ({' '.join(str(error).split())})") from error
    if not isinstance(header, dict) or _FIELD not in header:
        raise InputError(f"{file}: holds a head alone, no backbone; give the folder of a run of ta2n finetune")
    return spec_of(header[_FIELD], source=str(file)), tensors
