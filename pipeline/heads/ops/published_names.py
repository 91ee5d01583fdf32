"""Weights under the names of published code, for heads whose own names differ from them by the part only."""

from collections.abc import Mapping

from torch import Tensor

from ta2n.cache_schema.errors import InputError


def renamed_weights(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], names: Mapping[str, str], method: str
) -> dict[str, Tensor]:
    """Pick the weights of a head out of a published state dict.

    Args:
        own: the head's state dict, whose names and shapes decide.
        state: published names; those of other parts, such as the backbone, may be left over.
        names: what a published name begins with, by what the head's own begins with.
        method: the head, for the message.

    Returns:
        A complete state dict for the head. Axes of length 1, which published code keeps here and there, are no
        difference of shape.

    Raises:
        InputError: names are missing, or shapes differ.
    """
    found, problems = {}, []
    for name, weight in own.items():
        published = _published(name, names)
        given = state.get(published)
        if given is None:
            problems.append(f"{published} is missing")
        elif given.squeeze().shape != weight.squeeze().shape:
            problems.append(f"{published} is {tuple(given.shape)} instead of {tuple(weight.shape)}")
        else:
            found[name] = given.reshape(weight.shape)
    if problems:
        raise InputError(
            f"the state dict does not fit this {method} head ({'; '.join(problems)}); build the head with the channels "
            "and options of the checkpoint"
        )
    return found


def _published(name: str, names: Mapping[str, str]) -> str:
    own = max((part for part in names if name.startswith(part)), key=len)
    return names[own] + name.removeprefix(own)
