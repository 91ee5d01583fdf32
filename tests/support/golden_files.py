"""Reading of the reference files, and comparing with them at the tolerances that they state."""

from collections.abc import Mapping

import numpy as np
import torch
from shared_data import GOLDEN
from torch import Tensor

from ta2n.pipeline.heads import Head

Golden = dict[str, Tensor]


def read_golden(name: str) -> Golden:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def state_of(golden: Golden) -> Golden:
    """The weights under the published names."""
    return {key.removeprefix("state/"): value for key, value in golden.items() if key.startswith("state/")}


def distances_of(head: Head, golden: Golden, *, double: bool = False) -> Tensor:
    """The head's distances of a file's episode, in float32 or float64; the head is left in that precision."""
    dtype = torch.float64 if double else torch.float32
    with torch.no_grad():
        found: Tensor = head.to(dtype)(golden["support"].to(dtype), golden["query"].to(dtype), shot=int(golden["shot"]))
    return found


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-5)


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def check_training(head: Head, golden: Golden, published: Mapping[str, Tensor]) -> None:
    """Distances and the mean cross-entropy of training mode, and gradients to 1e-3 of the largest number in each.

    Args:
        head: without dropout, in float32.
        golden: the file.
        published: the head's weights under their published names, all that the file has gradients for.
    """
    support, query = (golden[name].clone().requires_grad_() for name in ("support", "query"))
    distances = head.train()(support, query, shot=int(golden["shot"]))
    close(distances, golden["train/distances"])
    loss = head.loss(distances, golden["query_labels"]) / len(query)
    close(loss, golden["train/loss"])
    weights = {**published, "support": support, "query": query}
    assert weights.keys() == {key.removeprefix("gradnorm/") for key in golden if key.startswith("gradnorm/")}
    for (name, _), grad in zip(weights.items(), torch.autograd.grad(loss, [*weights.values()]), strict=True):
        _relative(grad.norm(), golden[f"gradnorm/{name}"])
        if f"grad/{name}" in golden:
            _relative(grad, golden[f"grad/{name}"])


def _relative(found: Tensor, expected: Tensor) -> None:
    """A gradient that is zero in exact arithmetic may be any tiny number."""
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * scale if scale > 1e-6 else 1e-6)
