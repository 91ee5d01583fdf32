"""Options that several commands share, and how their text becomes values."""

import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cache_schema.errors import InputError

if TYPE_CHECKING:
    import torch

    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.config.protocols import Protocol
    from ta2n.pipeline.config.recipes import Recipe

Cache = Annotated[Path, typer.Option("--cache", help="A feature store, or the folder that holds one.", metavar="PATH")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", metavar="NAME")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.", min=0)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print the table as CSV on stdout.")]
SplitFile = Annotated[
    Path | None,
    typer.Option(
        "--split-file",
        help='A JSON file {"train": [classes], "val": [...], "test": [...]}; replaces the splits of the data set.',
        metavar="FILE",
    ),
]
Method = Annotated[str, typer.Option("--method", help="Name of the head: ta2n, protonet, ...", metavar="NAME")]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="Named settings: ta2n-paper, ta2n-code or trx; a recipe and flags override them. [default: ta2n-paper]",
        metavar="NAME",
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", help="A TOML file of settings, between the protocol's and the flags.", metavar="FILE"),
]
SomeSeed = Annotated[int | None, typer.Option("--seed", help="Seed of everything random. [default: 0]", min=0)]
Project = Annotated[
    int | None,
    typer.Option("--project", help="Put a learned 1×1 projection to this many channels before the head.", min=1),
]
HeadOptions = Annotated[
    list[str] | None,
    typer.Option("--option", help="An option of the head, e.g. tc=false; may be repeated.", metavar="NAME=VALUE"),
]
Dataset = Annotated[
    str | None,
    typer.Option("--dataset", help="Which store, where --cache is a folder of several.", metavar="NAME"),
]


def torch_device(name: str) -> "torch.device":
    """The device meant by ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        InputError: the name is not a device, or this machine does not have it.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device {name!r} is not a device; give auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"--device {name!r} is not supported; give auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use --device cpu"
        )
    return device


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen(name: str | None, recipe: Path | None) -> "tuple[str, Protocol, Recipe]":
    """The protocol that a flag or else a recipe names, and the recipe.

    Raises:
        InputError: there is no such protocol, or the recipe cannot be read.
    """
    from ta2n.cli.console import note
    from ta2n.pipeline.config.protocols import PROTOCOLS
    from ta2n.pipeline.config.recipes import Recipe, read_recipe

    read = read_recipe(recipe) if recipe else Recipe()
    wanted = name or read.protocol or "ta2n-paper"
    if wanted not in PROTOCOLS:
        raise InputError(f"--protocol {wanted!r} is not known; choose one of {', '.join(PROTOCOLS)}")
    if PROTOCOLS[wanted].note:
        note(f"note: protocol {wanted}: {PROTOCOLS[wanted].note}")
    return wanted, PROTOCOLS[wanted], read


def whole(text: str, flag: str) -> int:
    """A whole number from a list on the line.

    Raises:
        InputError: the text is none.
    """
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{flag} has {text.strip()!r}, expected whole numbers separated by commas") from error


def default_frames(cache: "FeatureCache") -> int:
    """T of a head on a store: the field's 8, or as many as are there."""
    return min(8, cache.map_shape[1])


def accepted(method: str) -> list[str]:
    """Names of the options that a method's head takes; empty for an unknown method, which building it will name."""
    from ta2n.pipeline.heads import HEADS

    return list(inspect.signature(HEADS[method]).parameters) if method in HEADS else []


def head_arguments(method: str, texts: list[str] | None, project: int | None) -> dict[str, Any]:
    """The options of a head as given on the line; ``--project`` only where it is used."""
    return head_options(texts or []) | ({} if project is None else {"project": project})


def head_options(texts: list[str]) -> dict[str, Any]:
    """``["tc=false", "perturbation=0.1"]`` as keyword arguments; values are JSON, or text where they are not.

    Raises:
        InputError: a text has no ``=``.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--option {text!r}: expected NAME=VALUE, e.g. --option tc=false")
        try:
            options[name.strip().replace("-", "_")] = json.loads(value)
        except ValueError:
            options[name.strip().replace("-", "_")] = value
    return options


def open_cache(path: Path, dataset: str | None, split_file: Path | None) -> "FeatureCache":
    """Opens the store that the options mean, with the splits that they mean."""
    from ta2n.pipeline.cache import FeatureCache

    cache = FeatureCache.open(path, dataset)
    if split_file is not None:
        import numpy as np

        from ta2n.pipeline.datasets.splits import read_split_file

        split = read_split_file(split_file)
        cache.use_splits(np.array([split.get(label, "") for label in cache.videos.label.tolist()], dtype=np.str_))
    return cache
