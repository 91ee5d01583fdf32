"""TEAM as it is written: one clip, one token, one pair of classes at a time."""

from math import cos, sin, sqrt

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def plain_team(support: Tensor, query: Tensor, shot: int, w: Weights) -> tuple[Tensor, Tensor]:
    """(N·K, C, T, H, W), (Q, C, T, H, W) -> both parts of the distances, (Q, N) each; N of 2 or more."""
    classes = [
        torch.stack([frames(clip) for clip in support[n : n + shot]]).mean(0) for n in range(0, len(support), shot)
    ]
    gathered = [gather(one, w) for one in classes]
    positive = [[phi(p + o, w) for p, o in zip(w["tokens"], one, strict=True)] for one in gathered]
    negative = [[phi(p - o, w) for p, o in zip(w["tokens"], one, strict=True)] for one in gathered]
    plus_classes = [adapted(n, gathered, positive, 1, w) for n in range(len(classes))]
    minus_classes = [adapted(n, gathered, negative, -1, w) for n in range(len(classes))]
    plus, minus = [], []
    for clip in query:
        o = gather(frames(clip), w)
        has = [phi(p + one, w) for p, one in zip(w["tokens"], o, strict=True)]
        lacks = [phi(p - one, w) for p, one in zip(w["tokens"], o, strict=True)]
        plus.append(torch.stack([far(one, has) for one in plus_classes]))
        row = []
        for n in range(len(classes)):
            first = max(far(plus_classes[k], lacks) for k in range(len(classes)) if k != n)
            second = max(far(minus_classes[k], has) for k in range(len(classes)) if k != n)
            row.append((first + second) / 2)
        minus.append(torch.stack(row))
    return torch.stack(plus), torch.stack(minus)


def frames(clip: Tensor) -> Tensor:
    """(C, T, H, W) -> (T, C), coded."""
    C, T = clip.shape[:2]
    rows = []
    for t in range(T):
        angles = [t / 10000 ** (c // 2 * 2 / C) for c in range(C)]
        code = torch.tensor([0.1 * (sin(a) if c % 2 == 0 else cos(a)) for c, a in enumerate(angles)], dtype=clip.dtype)
        rows.append(torch.stack([clip[c, t].mean() for c in range(C)]) + code)
    return torch.stack(rows)


def norm(x: Tensor, w: Weights) -> Tensor:
    spread = ((x - x.mean()) ** 2).mean() + 1e-5
    return (x - x.mean()) / spread.sqrt() * w["norm.weight"] + w["norm.bias"]


def gather(clip: Tensor, w: Weights) -> list[Tensor]:
    """(T, C) -> what each token gathers."""
    xs = [norm(x, w) for x in clip]
    found = []
    for token in w["tokens"]:
        shares = torch.stack([torch.exp(norm(token, w) @ x / sqrt(len(x) / 8)) for x in xs])
        found.append(torch.stack([s * x for s, x in zip(shares / shares.sum(), xs, strict=True)]).sum(0))
    return found


def phi(v: Tensor, w: Weights) -> Tensor:
    hidden = (w["first.weight"] @ v + w["first.bias"]).clamp_min(0)
    return (v + w["second.weight"] @ hidden + w["second.bias"]).clamp_min(0)


def adapted(n: int, gathered: list[list[Tensor]], own: list[list[Tensor]], sign: int, w: Weights) -> list[Tensor]:
    """The tokens of class n, away from what it shares with the others."""
    found = []
    for m, token in enumerate(w["tokens"]):
        moved = []
        for k in range(len(own)):
            if k != n:
                alike = cosine(own[n][m], own[k][m])
                change = gathered[n][m] - alike * (gathered[k][m] - gathered[n][m])
                moved.append(phi(token + sign * change, w))
        found.append(torch.stack(moved).mean(0))
    return found


def far(a: list[Tensor], b: list[Tensor]) -> Tensor:
    return torch.stack([1 - cosine(x, y) for x, y in zip(a, b, strict=True)]).sum()


def cosine(x: Tensor, y: Tensor) -> Tensor:
    lengths = [(one @ one).clamp_min(1e-16).sqrt() for one in (x, y)]
    return x @ y / (lengths[0] * lengths[1])
