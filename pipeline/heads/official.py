"""The names of the weights in published checkpoints: TA2N's, and those of heads that bear them themselves."""

from collections.abc import Mapping

from torch import Tensor

from ta2n.cache_schema.errors import InputError

PREFIX = "align."
COUNTER = ".num_batches_tracked"
PARTS = ("firststage.", "secondstage.", "keynet_multi.", "querynet_multi.", "valuenet_multi.")


def official_weights(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pick the weights of a head out of a published state dict.

    Args:
        own: the head's state dict, whose names and shapes decide.
        state: published names. Where some carry the prefix "align.", only those are read, since the others belong to
            the backbone; counters of batches, and whole stages that the head does not have, may be left over.

    Returns:
        A complete state dict for the head.

    Raises:
        InputError: names are missing or unknown, or shapes differ.
    """
    if any(name.startswith(PREFIX) for name in state):
        state = {name.removeprefix(PREFIX): v for name, v in state.items() if name.startswith(PREFIX)}
    weights = {name: v for name, v in own.items() if name.endswith(COUNTER)} | {
        name: v for name, v in state.items() if name in own
    }
    stages = {_stage(name) for name in own}
    missing = [name for name in own if name not in weights]
    unknown = [
        name
        for name in state
        if name not in own and not name.endswith(COUNTER) and (_stage(name) in stages or not name.startswith(PARTS))
    ]
    shapes = [
        f"{name} is {tuple(v.shape)} instead of {tuple(own[name].shape)}"
        for name, v in weights.items()
        if v.shape != own[name].shape
    ]
    problems = [("missing", missing), ("unknown", unknown), ("wrong shape", shapes)]
    if any(names for _, names in problems):
        found = "; ".join(f"{what}: {', '.join(names)}" for what, names in problems if names)
        raise InputError(
            f"the state dict does not fit this TA2N head ({found}); build the head with the channels and stages of "
            "the checkpoint"
        )
    return weights


def _stage(name: str) -> str:
    """The network a weight belongs to, such as "firststage.locnet" or "keynet_multi"."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in ("firststage", "secondstage") else parts[0]


def fitting_weights(
    method: str, own: Mapping[str, Tensor], published: Mapping[str, Tensor], unused: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Check weights that carry a head's own names.

    Args:
        method: the head's name, for the message.
        own: the head's state dict, whose names and shapes decide.
        published: the weights, under the same names.
        unused: endings of names that may be left over: weights that the published code holds without a use for them.

    Returns:
        A complete state dict for the head.

    Raises:
        InputError: names are missing or unknown, or shapes differ.
    """
    missing = [name for name in own if name not in published]
    unknown = [name for name in published if name not in own and not name.endswith(unused)]
    shapes = [
        f"{name} is {tuple(published[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in published and published[name].shape != value.shape
    ]
    problems = [("missing", missing), ("unknown", unknown), ("wrong shape", shapes)]
    if any(names for _, names in problems):
        found = "; ".join(f"{what}: {', '.join(names)}" for what, names in problems if names)
        raise InputError(
            f"the state dict does not fit this {method} head ({found}); build the head with the sizes and options of "
            "the checkpoint"
        )
    return {name: published[name] for name in own}
