"""ARN as it is written: a stacked image of two channels for every pair, through the whole comparator."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

State = Mapping[str, Tensor]
EPSILON = 1e-5


def plain_arn(support: Tensor, query: Tensor, shot: int, state: State, *, train: bool) -> Tensor:
    """(N·K, C, T, H, W), (Q, C, T, H, W) -> scores (Q, N), 0 to 1; ``train``: normalised by the batch."""
    shots, queries = describe(support, state, train), describe(query, state, train)
    classes = [torch.stack(shots[start : start + shot]).mean(0) for start in range(0, len(shots), shot)]
    pairs = torch.stack([torch.stack([prototype, q]) for q in queries for prototype in classes])
    out = block(pairs, "first", "blocks.0", state, train)
    for place in (3, 7, 11):
        out = block(out, f"blocks.{place}", f"blocks.{place + 1}", state, train)
    logits = out.flatten(1) @ state["score.weight"][0] + state["score.bias"][0]
    return (1 / (1 + (-logits).exp())).view(len(queries), len(classes))


def describe(maps: Tensor, state: State, train: bool) -> list[Tensor]:
    """(B, C, T, H, W) -> B matrices (D, D)."""
    projected = torch.einsum("bcthw,dc->bdthw", maps, state["projection.0.weight"][:, :, 0, 0, 0])
    features = normalise(projected, "projection.1", state, train).clamp(min=0)
    return [second_order(clip, state) for clip in features]


def second_order(clip: Tensor, state: State) -> Tensor:
    """(D, T, H, W) -> (D, D)."""
    channels = len(clip)
    total, positions = torch.zeros(channels, channels, dtype=clip.dtype), 0
    for frame in clip.unbind(1):
        seen = F.conv2d(frame[None], state["attention.weight"][:, :, 0], state["attention.bias"], padding=1)[0, 0]
        attended = frame * (1 + 1 / (1 + (-seen).exp()))
        for vector in attended.flatten(1).T:
            total, positions = total + torch.outer(vector, vector), positions + 1
    moments = total / positions
    return 2 / (1 + (-100 * moments / moments.trace()).exp()) - 1


def block(x: Tensor, convolution: str, norm: str, state: State, train: bool) -> Tensor:
    convolved = F.conv2d(x, state[f"{convolution}.weight"], padding=1)
    return F.max_pool2d(normalise(convolved, norm, state, train).clamp(min=0), 2)


def normalise(x: Tensor, name: str, state: State, train: bool) -> Tensor:
    """Batch normalisation over all axes but the second."""
    others = [axis for axis in range(x.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    if train:
        mean, variance = x.mean(others), x.var(others, correction=0)
    scaled = (x - mean.view(shape)) / (variance + EPSILON).sqrt().view(shape)
    return scaled * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)
