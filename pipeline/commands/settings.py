"""The settings of a training run: what was given, else the recipe, else the protocol, else what suits the machine."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.plain_json import to_json
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


_SAID_ELSEWHERE = {
    "name": "give it with --method",
    "channels": "the store says it",
    "size": "the store says it",
    "frames": "give it with --frames",
    "seed": "give it with --seed",
}
_LARGEST = 1 << 31
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    type(None): "a list of whole numbers, such as [2,3]",
}


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
    require_options(method, head_options or {})
    said, notes = given_fields(TRAIN, given)
    for name in said.keys() & (head_options or {}).keys():
        raise InputError(f"--{name} and --option {name} say the same; give one of them")
    usual = {"frames": default_frames(cache), "objective": usual_objective(method)}
    heard = resolve(TRAIN, [said, recipe_fields(TRAIN, recipe), usual], protocol)
    own = make(HeadOptions, heard)
    settings = make(Settings, heard, method=method)
    notes += on_patience(said, settings)
    options: dict[str, Any] = {}
    if _has_dropout(method):
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


def require_options(method: str, options: Mapping[str, Any]) -> None:
    """Refuses options of a head that are none of its own, as the store and other flags say those, and odd values.

    What a head has no option for is refused where it is built.

    Raises:
        InputError: names the option, and what says it or what was expected.
    """
    known = inspect.signature(HEADS[method]).parameters if method in HEADS else {}
    for name, value in options.items():
        if name in _SAID_ELSEWHERE:
            raise InputError(f"--option {name}: {_SAID_ELSEWHERE[name]}")
        usual = 0 if name == "project" else known[name].default if name in known else value
        if not _is_like(value, usual):
            raise InputError(f"--option {name}={value}: expected {_words(usual)}")


def _is_like(value: object, usual: object) -> bool:
    """Whether a value is of the kind of the one that is used where nobody says anything."""
    if usual is None:
        return value is None or (isinstance(value, list) and all(type(one) is int for one in value))
    if isinstance(usual, float):
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return type(value) is type(usual) and not (isinstance(value, int) and abs(value) > _LARGEST)


def _words(usual: object) -> str:
    return _KINDS[type(usual)] + ("" if usual is None else f", such as {to_json(usual)}")


def require_used(given: Mapping[str, Any], methods: Sequence[str]) -> None:
    """Refuses what was given for a head that has no use for it, where none of the methods has.

    Raises:
        InputError: names the flag.
    """
    if given.get("dropout") is not None and not any(_has_dropout(method) for method in methods):
        raise InputError(f"--dropout: {', '.join(methods)} has no dropout; leave it out")


def _has_dropout(method: str) -> bool:
    return method not in HEADS or "dropout" in inspect.signature(HEADS[method]).parameters


def on_patience(said: Mapping[str, Any], settings: Settings) -> list[str]:
    """A note where the patience that was asked for cannot end a run.

    Raises:
        InputError: there is no validation that it could wait for.
    """
    if said.get("patience") is None:
        return []
    if not settings.val_episodes:
        raise InputError(
            "--patience waits for a better val accuracy, and --val-episodes 0 measures none; leave one out"
        )
    if settings.patience < settings.epochs:
        return []
    return [f"note: --patience {settings.patience} is never used up in --epochs {settings.epochs}"]


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
