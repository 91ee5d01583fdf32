"""The settings of a training run: what was given, else the recipe, else the protocol, else what suits the machine."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.commands.stores import default_frames
from ta2n.pipeline.commands.tables import TRAIN
from ta2n.pipeline.config.protocols import Protocol
from ta2n.pipeline.config.resolve import given_fields, make, recipe_fields, resolve
from ta2n.pipeline.heads import HEADS, build_head
from ta2n.pipeline.training.objectives import usual_objective
from ta2n.pipeline.training.settings import HeadOptions, Settings

CPU_CHANNELS = 256
"""Channels that a head learns on where a CPU trains it and nobody says otherwise.

TA2N on all 2048 channels of a ResNet-50 takes two cores about two hours for a run of the default length.
"""


def run_settings(
    cache: FeatureCache,
    method: str,
    protocol: Protocol,
    given: Mapping[str, Any],
    recipe: Mapping[str, Any],
    *,
    device: torch.device,
    head_options: Mapping[str, Any] | None = None,
) -> tuple[Settings, list[str]]:
    """The settings of one run, and lines that its user should know of.

    Args:
        cache: the store.
        method: name of the head.
        protocol: says what neither the caller nor the recipe says.
        given: by the caller, by the names of the flags of ``ta2n train-head`` with underscores; None is nothing said.
        recipe: its ``[train]``.
        device: where the head will be trained.
        head_options: further options of the head, which are heard before all others.

    Raises:
        InputError: the method or an option does not exist, or a value is of another type or out of its range.
    """
    if method not in HEADS:
        raise InputError(f"there is no method named {method!r}; choose one of {', '.join(HEADS)}")
    said, notes = given_fields(TRAIN, given)
    usual = {"frames": default_frames(cache), "objective": usual_objective(method)}
    heard = resolve(TRAIN, [said, recipe_fields(TRAIN, recipe), usual], protocol)
    own = make(HeadOptions, heard)
    settings = make(Settings, heard, method=method)
    options: dict[str, Any] = {}
    if "dropout" in inspect.signature(HEADS[method]).parameters:
        options["dropout"] = own.dropout
    elif said.get("dropout") is not None:
        notes.append(f"note: {method} has no dropout; --dropout is not used")
    options |= head_options or {}
    if own.project is None and "project" not in options and _too_wide(cache, settings, options, device):
        options["project"] = CPU_CHANNELS
        notes.append(
            f"note: on a CPU, heads that learn are trained on a projection to {CPU_CHANNELS} channels; "
            f"--project 0 trains on all {cache.map_shape[0]} channels"
        )
    elif own.project:
        options = {"project": own.project} | options
    return make(Settings, heard, method=method, options=options), notes


def _too_wide(cache: FeatureCache, settings: Settings, options: Mapping[str, Any], device: torch.device) -> bool:
    """Whether a head is one that a CPU should not train on all channels: one that learns, on more than 256."""
    channels, _, size, _ = cache.map_shape
    if device.type != "cpu" or channels <= CPU_CHANNELS:
        return False
    try:
        # Whether it learns does not depend on how many channels it has.
        head = build_head(settings.method, channels=CPU_CHANNELS, frames=settings.frames, size=size, **options)
    except InputError:
        return False  # what cannot be built will be refused, with the same error, where it is trained
    return any(parameter.requires_grad for parameter in head.parameters())
