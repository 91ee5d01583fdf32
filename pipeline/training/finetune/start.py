"""What fine-tuning starts from: the backbone that made a store, and a head that was trained on it or is new."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.config.stored import from_stored
from ta2n.pipeline.features.backbones import Backbone, frozen, load_unfolded, looks_like_a_file, weights_sha256
from ta2n.pipeline.features.plan import BackboneSpec
from ta2n.pipeline.heads import Head
from ta2n.pipeline.training.checkpoint import BEST, Checkpoint, load_checkpoint, load_weights

PREFIX = "backbone."
"""What stands before the names of the backbone's tensors in a checkpoint."""
_RANDOM = re.compile(r"random \(seed (\d+)\)")


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        head: with its weights.
        made: what :func:`ta2n.pipeline.heads.build_head` made it from.
        backbone: of the store, with its batch norm in place.
        origin: checksum of the checkpoint that the head is from; ``untrained`` where it is new.
    """

    head: Head
    made: Mapping[str, Any]
    backbone: Backbone
    origin: str = "untrained"


def backbone_of(cache: FeatureCache, weights: Path | None = None, *, earlier: Checkpoint | None = None) -> Backbone:
    """The backbone that made a store's maps, as it can be trained.

    Args:
        cache: the store.
        weights: file of its weights, or a fine-tuned run; None finds them by the name in the manifest.
        earlier: the checkpoint that the run starts from; its backbone is taken where it has one.

    Raises:
        InputError: the weights are others than the store's, or the store's maps are no plain maps of the last layer.
        MissingError: the weights are not there.
    """
    manifest = cache.manifest
    if weights is not None and _holds_backbone(weights):
        found = unfolded_backbone(load_checkpoint(weights))
    elif weights is None and earlier is not None and "backbone" in earlier.metadata:
        found = unfolded_backbone(earlier)
    else:
        name, seed = _by_name(cache) if weights is None else (str(weights), 0)
        found = load_unfolded(manifest.backbone, name, seed=seed)
    if found.spec.weights_sha256 != manifest.weights_sha256:
        raise InputError(
            f"{weights or found.spec.weights}: are other weights of {manifest.backbone} than those of "
            f"{cache.path} (sha256 {found.spec.weights_sha256[:12]}, expected {manifest.weights_sha256[:12]}); give "
            f"its own, {manifest.weights}, with --weights"
        )
    spec = dataclasses.replace(found.spec, weights=manifest.weights, source=None)
    _require_plain(cache, spec)
    return Backbone(spec, found.module)


def _by_name(cache: FeatureCache) -> tuple[str, int]:
    """The weights of a store as one asks for them, and the seed of random ones."""
    name = cache.manifest.weights
    if random := _RANDOM.fullmatch(name):
        return "random", int(random[1])
    if looks_like_a_file(name) or "fine-tuned" in name:
        raise InputError(f"{cache.path}: its weights are {name!r}; give their file, or their run, with --weights")
    return name, 0


def _require_plain(cache: FeatureCache, spec: BackboneSpec) -> None:
    manifest, (channels, _, size, _) = cache.manifest, cache.map_shape
    wanted = {"layer": spec.layer, "grid": None, "class_token": False, "crop": spec.image_size}
    have = {"layer": manifest.layer, "grid": manifest.grid, "class_token": manifest.class_token}
    have["crop"] = manifest.preprocessing.get("crop")
    odd = [f"{name} {have[name]}" for name in wanted if have[name] != wanted[name]]
    if (channels, size) != (spec.channels, spec.map_size):
        odd.append(f"maps of {channels} channels and side {size}")
    if odd:
        raise InputError(
            f"{cache.path}: its maps are not those of {spec.name}'s {spec.layer} on whole frames ({', '.join(odd)}), "
            "which fine-tuning on frames takes; extract such a store"
        )


def _holds_backbone(path: Path) -> bool:
    """Whether a path is a fine-tuned run, or its checkpoint."""
    return (path / BEST).is_file() or path.name == BEST


def unfolded_backbone(checkpoint: Checkpoint) -> Backbone:
    """The backbone of a fine-tuned run, with its batch norm in place.

    Raises:
        InputError: the run tuned none, or what the file holds is not what its header says.
    """
    source = checkpoint.file or "the checkpoint"
    said = checkpoint.metadata.get("backbone")
    if said is None:
        raise InputError(f"{source}: holds a head and no backbone; `ta2n finetune` makes runs that hold both")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    spec = from_stored(BackboneSpec, values, source=source)
    module = load_unfolded(spec.name, "random").module
    load_weights(module, of_backbone(checkpoint.tensors), source)
    if (found := weights_sha256(module)) != spec.weights_sha256:
        raise InputError(
            f"{source}: its backbone's weights are others than its header says (sha256 {found[:12]}, expected "
            f"{spec.weights_sha256[:12]}); take a copy of it, or train again"
        )
    return Backbone(spec, module)


def tuned_backbone(checkpoint: Checkpoint) -> Backbone:
    """The backbone of a fine-tuned run, as features are taken from it: see :func:`unfolded_backbone`."""
    found = unfolded_backbone(checkpoint)
    return Backbone(found.spec, frozen(found.module))


def of_backbone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's part of a checkpoint's tensors, by the names of the network."""
    return {name.removeprefix(PREFIX): one for name, one in tensors.items() if name.startswith(PREFIX)}
