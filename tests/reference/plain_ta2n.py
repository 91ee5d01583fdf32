"""TA2N as the method is written: loops over videos and pairs, every intermediate kept, nothing factorised.

The judge of ``ta2n.pipeline.heads.ta2n``. It works in the precision of its inputs and reads the weights from a state
dict under the published names, so gradients can be compared name by name.
"""

from dataclasses import dataclass, field
from math import sqrt

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

State = dict[str, Tensor]


@dataclass
class Trace:
    """Every quantity the golden files hold, by their names."""

    support_theta: Tensor | None = None
    query_theta: Tensor | None = None
    support_warped: Tensor | None = None
    query_warped: Tensor | None = None
    prototype: Tensor | None = None
    support_tc: Tensor | None = None
    query_tc: Tensor | None = None
    offsets: Tensor | None = None
    support_aligned: Tensor | None = None
    query_aligned: Tensor | None = None
    distances: Tensor = field(default_factory=lambda: torch.empty(0))


def batch_norm(x: Tensor, state: State, name: str, train: bool) -> Tensor:
    """Normalise over the whole batch given, or by the running statistics."""
    axes = [0, *range(2, x.ndim)]
    shape = [1, -1] + [1] * (x.ndim - 2)
    mean = x.mean(axes) if train else state[f"{name}.running_mean"]
    var = x.var(axes, unbiased=False) if train else state[f"{name}.running_var"]
    normal = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
    return normal * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)


def locate(maps: Tensor, state: State, train: bool) -> Tensor:
    """(B, C, T, H, W) -> theta (B, 2)."""
    net = "firststage.locnet"
    x = F.conv3d(maps, state[f"{net}.0.weight"], state[f"{net}.0.bias"], padding=1)
    x = F.relu(F.max_pool3d(batch_norm(x, state, f"{net}.1", train), 2))
    x = F.conv3d(x, state[f"{net}.4.weight"], state[f"{net}.4.bias"], padding=1)
    x = F.relu(F.max_pool3d(batch_norm(x, state, f"{net}.5", train), 2))
    x = x.amax((2, 3, 4))
    x = F.relu(F.linear(x, state[f"{net}.10.weight"], state[f"{net}.10.bias"]))
    return F.linear(x, state[f"{net}.12.weight"], state[f"{net}.12.bias"]).tanh()


def warp(video: Tensor, theta: Tensor) -> Tensor:
    """Sample (C, T, H, W) at a·x + b, linearly, zeros outside."""
    frames = video.shape[1]
    warped = []
    for t in range(frames):
        x = -1 + 2 * t / (frames - 1) if frames > 1 else 0.0
        position = (theta[0] * x + theta[1] + 1) * (frames - 1) / 2
        total = torch.zeros_like(video[:, 0])
        for i in range(frames):
            total = total + F.relu(1 - (position - i).abs()) * video[:, i]
        warped.append(total)
    return torch.stack(warped, dim=1)


def fuse_shots(shots: Tensor, state: State) -> Tensor:
    """(K, C, T, H, W) of one class -> (C, T, H, W)."""
    means = shots.mean((3, 4))  # (K, C, T)
    question = state["querynet_multi.weight"][:, :, 0] @ means[0]  # (C, T)
    fused = []
    for shot, mean in zip(shots, means, strict=True):
        key = state["keynet_multi.weight"][:, :, 0] @ mean
        attention = (question.T @ key / sqrt(len(key))).softmax(dim=1)  # (T of the first shot, T of this one)
        value = value_map(shot, state)
        fused.append(torch.einsum("st,cthw->cshw", attention, value))
    return torch.stack(fused).mean(0)


def value_map(video: Tensor, state: State) -> Tensor:
    """The 1×1 map of the fusion, on the full maps (C, T, H, W)."""
    return torch.einsum("dc,cthw->dthw", state["valuenet_multi.weight"][:, :, 0], video)


def coordinate_in_time(support: Tensor, query: Tensor, state: State) -> tuple[Tensor, Tensor]:
    """TC of one pair: both (C, T, H, W) with their attended terms added."""
    net = "secondstage"
    key, question, value = (state[f"{net}.{n}net.weight"][:, :, 0] for n in ("key", "query", "value"))
    s, q = support.mean((2, 3)), query.mean((2, 3))  # (C, T)
    attention = ((key @ s).T @ (question @ q) / sqrt(len(s))).softmax(dim=1)  # (T support, T query)
    s_term, q_term = value @ s, (value @ q) @ attention.T
    return support + s_term[:, :, None, None], query + q_term[:, :, None, None]


def find_offsets(pairs: Tensor, state: State, train: bool) -> Tensor:
    """(P, 2C, T, H, W) -> (P, T, 2): all pairs at once, because they share the batch statistics."""
    net = "secondstage.mvnet"
    x = F.conv3d(pairs, state[f"{net}.0.weight"], state[f"{net}.0.bias"], padding=1)
    x = F.relu(F.max_pool3d(batch_norm(x, state, f"{net}.1", train), (1, 2, 2)))
    x = F.conv3d(x, state[f"{net}.4.weight"], state[f"{net}.4.bias"], padding=1)
    x = F.relu(F.max_pool3d(batch_norm(x, state, f"{net}.5", train), (1, 2, 2)))
    x = x.amax((3, 4))
    x = F.relu(F.conv1d(x, state[f"{net}.10.weight"], state[f"{net}.10.bias"]))
    x = F.conv1d(x, state[f"{net}.12.weight"], state[f"{net}.12.bias"])
    return 0.75 * x.tanh().transpose(1, 2)


def one_mask(x: Tensor, y: Tensor, size: int) -> Tensor:
    """The window at one offset, cell by cell: (size, size) with axes (y, x)."""

    def side(offset: Tensor) -> list[Tensor]:
        values = []
        for i in range(size):
            g = -1 + 2 * i / (size - 1) if size > 1 else 0.0
            distance = (g + offset).abs()
            values.append(torch.ones_like(offset) if distance < 1 else F.relu(1 - (distance - 1) * (size - 1) / 2))
        return values

    return torch.outer(torch.stack(side(y)), torch.stack(side(x)))


def averaged_mask(offset: Tensor, size: int, perturbation: float) -> Tensor:
    """Mean of the nine windows around one offset (2,), each divided by its own area."""
    masks = []
    for dx in (-perturbation, 0.0, perturbation):
        for dy in (-perturbation, 0.0, perturbation):
            mask = one_mask(offset[0] + dx, offset[1] + dy, size)
            masks.append(mask / mask.sum())
    return torch.stack(masks).mean(0)


def pool(video: Tensor, offsets: Tensor, perturbation: float) -> Tensor:
    """(C, T, H, W), (T, 2) -> (C, T)."""
    size = video.shape[-1]
    frames = [(video[:, t] * averaged_mask(offset, size, perturbation)).sum((1, 2)) for t, offset in enumerate(offsets)]
    return torch.stack(frames, dim=1)


def whole_frames(video: Tensor) -> Tensor:
    """(C, T, H, W) -> (C·H·W, T): without SC, frames are compared as they are."""
    return video.transpose(0, 1).flatten(1).T


def plain_ta2n(
    support: Tensor,
    query: Tensor,
    shot: int,
    state: State,
    *,
    train: bool = False,
    ttm: bool = True,
    tc: bool = True,
    sc: bool = True,
    perturbation: float = 0.2,
) -> Trace:
    """The whole head: (N·K, C, T, H, W), (Q, C, T, H, W) -> a trace with distances (Q, N)."""
    trace = Trace()
    if ttm:
        # Two batches, as the golden train-mode values show: each has its own statistics.
        trace.support_theta, trace.query_theta = locate(support, state, train), locate(query, state, train)
        support = torch.stack([warp(v, theta) for v, theta in zip(support, trace.support_theta, strict=True)])
        query = torch.stack([warp(v, theta) for v, theta in zip(query, trace.query_theta, strict=True)])
        trace.support_warped, trace.query_warped = support, query
    if shot > 1:
        support = torch.stack([fuse_shots(shots, state) for shots in torch.split(support, shot)])
        query = torch.stack([value_map(v, state) for v in query])
        trace.prototype = support
    N, Q = len(support), len(query)
    pairs = [(s, q) for s in support for q in query]
    if tc:
        pairs = [coordinate_in_time(s, q, state) for s, q in pairs]
        trace.support_tc = torch.stack([pairs[n * Q][0] for n in range(N)])
        trace.query_tc = torch.unflatten(torch.stack([q for _, q in pairs]), 0, (N, Q))
    if sc:
        offsets = find_offsets(torch.stack([torch.cat(pair) for pair in pairs]), state, train)
        trace.offsets = torch.unflatten(offsets, 0, (N, Q))
        aligned = [
            (pool(s, o, perturbation), pool(q, -o, perturbation)) for (s, q), o in zip(pairs, offsets, strict=True)
        ]
    else:
        aligned = [(whole_frames(s), whole_frames(q)) for s, q in pairs]
    trace.support_aligned = torch.unflatten(torch.stack([s for s, _ in aligned]), 0, (N, Q))
    trace.query_aligned = torch.unflatten(torch.stack([q for _, q in aligned]), 0, (N, Q))
    cosine = F.cosine_similarity(trace.support_aligned, trace.query_aligned, dim=2)  # (N, Q, T)
    trace.distances = (1 - cosine).sum(2).T
    return trace
