"""Reading a golden file of a head, and what each of them is held to."""

import copy
from typing import Any

import numpy as np
import torch
from shared_data import GOLDEN
from torch import Tensor

Golden = dict[str, Tensor]


def read_golden(name: str) -> Golden:
    """The arrays of a file, in the precision they are stored in."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}


def published_state(golden: Golden) -> Golden:
    return {key.removeprefix("state/"): value for key, value in golden.items() if key.startswith("state/")}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def check_distances(head: Any, golden: Golden) -> None:
    """In float32 as stored, and in float64 to 1e-10."""
    shot = int(golden["shot"])
    # Copies: constants in float32 would stay rounded.
    single, double_head = copy.deepcopy(head).float(), copy.deepcopy(head).double()
    close(single(golden["support"], golden["query"], shot=shot), golden["eval/distances"])
    double = double_head(golden["support"].double(), golden["query"].double(), shot=shot)
    torch.testing.assert_close(double, golden["eval64/distances"], rtol=0, atol=1e-10)


def check_gradients(grads: dict[str, Tensor], golden: Golden) -> None:
    """To 1e-3 of the largest number of each array, under published names; where only the norm is stored, that."""
    for name, grad in grads.items():
        expected, found = golden.get(f"grad/{name}"), grad
        if expected is None:
            expected, found = golden[f"gradnorm/{name}"], grad.norm()
        bound = 1e-3 * expected.abs().max().item() + 1e-7
        torch.testing.assert_close(found.reshape(expected.shape), expected, rtol=0, atol=bound, msg=name)


def episode_gradients(
    head: Any, golden: Golden, names: dict[str, str], **classes: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The terms of the loss of a golden episode, and gradients by published name, with those of the maps."""
    head.float().train()
    support, query = golden["support"].clone().requires_grad_(), golden["query"].clone().requires_grad_()
    shot = int(golden["shot"])
    s, q = head.embed_episode(support, query, shot)
    distances = head.compare(s, q, shot)
    close(distances, golden["train/distances"])
    terms = head.losses(distances, golden["query_labels"], support=s, query=q, **classes)
    sum(terms.values()).backward()
    grads: dict[str, Any] = {"support": support.grad, "query": query.grad}
    for name, weight in head.named_parameters():
        own = max((part for part in names if name.startswith(part)), key=len)
        grads[names[own] + name.removeprefix(own)] = weight.grad
    return terms, grads
