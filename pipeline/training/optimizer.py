"""The optimiser, and its state as tensors with names."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.training.checkpoint import load_weights
from ta2n.pipeline.training.settings import Settings

_PREFIX = "optimizer."


def make_optimizer(settings: Settings, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimiser that a run asks for; a group may have a learning rate of its own."""
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=settings.learning_rate)
    return torch.optim.SGD(groups, lr=settings.learning_rate)


def state_of(optimizer: torch.optim.Optimizer | None) -> dict[str, Tensor]:
    """What an optimiser remembers of each parameter, as ``optimizer.<number>.<name>``."""
    if optimizer is None:
        return {}
    return {
        f"{_PREFIX}{number}.{name}": torch.as_tensor(value)
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore(
    modules: nn.Module, optimizer: torch.optim.Optimizer | None, tensors: Mapping[str, Tensor], source: object
) -> None:
    """Gives modules and optimiser what a run's last checkpoint holds of them.

    Raises:
        InputError: a tensor is missing, is too many, or does not fit; the message names it.
    """
    load_weights(modules, {name: one for name, one in tensors.items() if not name.startswith(_PREFIX)}, source)
    if optimizer is None:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_PREFIX):
            number, _, key = name.removeprefix(_PREFIX).partition(".")
            if not number.isdecimal() or int(number) >= len(parameters):
                raise InputError(f"{source}: its tensor {name!r} is of no parameter of this run")
            # All that an optimiser remembers is as large as its parameter, or one number.
            if tensor.dim() and tensor.shape != parameters[int(number)].shape:
                shape = tuple(parameters[int(number)].shape)
                raise InputError(f"{source}: its tensor {name!r} is {tuple(tensor.shape)}, expected {shape}")
            state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
