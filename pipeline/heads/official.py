"""The names of the weights in TA2N's published checkpoints."""

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
