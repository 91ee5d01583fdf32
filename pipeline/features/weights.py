"""Files of weights: a state dict, alone or where training scripts put it, and never a file whose code would run."""

import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ta2n.cache_schema.errors import InputError, MissingError

# Where checkpoints of training scripts keep the weights, and what wrappers put before their names.
_PLACES = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "backbone.", "model.")
_NETWORKS = ("torch.nn.", "torchvision.models.", "timm.models.")
_NAMED = 3


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """Reads the weights of a network from a ``.safetensors`` file, or a torch file that holds tensors.

    They may lie in a checkpoint, under ``state_dict``, ``model_state_dict`` or ``model``, and their names may begin
    with ``module.``, ``backbone.`` or ``model.``; beside a part called ``backbone.``, other parts are left out.

    Returns:
        Tensors by the names of the bare network.

    Raises:
        MissingError: there is no such file.
        InputError: it holds no state dict, several, or objects whose code would run as it is loaded.
    """
    if not file.is_file():
        raise MissingError(f"{file}: no such weights file; give the path of a state dict")
    stored = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    return _bare(_state_dict(stored, file), file)


def _read_safetensors(file: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{file}: not a safetensors file ({error}); give a state dict") from error


def _read_torch(file: Path) -> Any:
    try:
        # Scripts keep their arguments beside the weights; a namespace runs no code.
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a bad file
        raise InputError(f"{file}: {_why_not(file, error)}") from error


def _why_not(file: Path, error: Exception) -> str:
    kinds = _unsafe(file, error)
    advice = "where it was made, torch.save(model.state_dict(), FILE), and give that FILE"
    if network := next((kind for kind in kinds if kind.startswith(_NETWORKS)), None):
        return f"holds a pickled module ({network}), and loading it would run its code; {advice}"
    if kinds:
        named = ", ".join(kinds[:_NAMED])
        return f"holds Python objects beside its tensors ({named}), and loading it would run their code; {advice}"
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"torch cannot read it as a file of tensors ({reason[:200]}); give a state dict"


def _unsafe(file: Path, error: Exception) -> list[str]:
    """The kinds of what a file holds besides tensors and plain values, by their full names."""
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(str(file))
    except Exception:  # not a file of this form: what torch said of it must do
        found = re.findall(r"GLOBAL ([\w.]+)", str(error))
    # Networks before the layers that they are made of.
    return sorted(set(found), key=lambda kind: (kind.startswith("torch.nn."), kind))


def _state_dict(stored: Any, file: Path) -> dict[str, Tensor]:
    """The state dict in what a file holds."""
    if isinstance(stored, Mapping) and stored and all(isinstance(value, Tensor) for value in stored.values()):
        return {str(name): tensor for name, tensor in stored.items()}
    places = [name for name in _PLACES if isinstance(stored, Mapping) and isinstance(stored.get(name), Mapping)]
    if len(places) == 1:
        return _state_dict(stored[places[0]], file)
    if places:
        raise InputError(f"{file}: holds weights under {' and under '.join(places)}; save the one that is meant alone")
    inside = f" of {', '.join(map(str, list(stored)[:_NAMED]))}" if isinstance(stored, Mapping) and stored else ""
    raise InputError(
        f"{file}: expected a state dict (names to tensors), alone or under {', '.join(_PLACES)}; found a "
        f"{type(stored).__name__}{inside}"
    )


def _bare(state: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Without what wrappers put before names, and without parts beside the backbone."""
    prefix = next((one for one in _PREFIXES if any(name.startswith(one) for name in state)), None)
    if prefix is None:
        return state
    inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    outside = {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}
    twice = sorted(inside.keys() & outside.keys())
    if twice:
        raise InputError(f"{file}: holds both {twice[0]} and {prefix}{twice[0]}; save the one that is meant alone")
    return _bare(inside if prefix == "backbone." else inside | outside, file)
