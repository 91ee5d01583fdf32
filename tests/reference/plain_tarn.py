"""TARN as it is written: loops over pairs, steps and the gates of the recurrent units."""

from collections.abc import Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def plain_tarn(support: Tensor, query: Tensor, shot: int, state: State, bias: Tensor) -> Tensor:
    """(N·K, C, T, H, W), (Q, C, T, H, W) -> scores (Q, N), 0 to 1; ``bias`` (D,) is that of the paper's attention."""
    shots, queries = ([encode(clip, state) for clip in maps] for maps in (support, query))
    rows = []
    for q in queries:
        scores = [score(s, q, state, bias) for s in shots]
        rows.append(torch.stack([torch.stack(of_class).mean() for of_class in by_class(scores, shot)]))
    return torch.stack(rows)


def by_class(scores: list[Tensor], shot: int) -> list[list[Tensor]]:
    return [scores[start : start + shot] for start in range(0, len(scores), shot)]


def encode(clip: Tensor, state: State) -> Tensor:
    """(C, T, H, W) -> (T, 2·hidden), forwards and backwards."""
    frames = list(clip.mean((2, 3)).T)
    forwards = gru(frames, state, "encoder", "_l0")
    backwards = gru(frames[::-1], state, "encoder", "_l0_reverse")[::-1]
    return torch.stack([torch.cat(both) for both in zip(forwards, backwards, strict=True)])


def score(shot: Tensor, query: Tensor, state: State, bias: Tensor) -> Tensor:
    """One pair of encoded clips: probability that their classes are the same."""
    keys = torch.stack([state["attention.weight"] @ step + bias for step in shot])
    compared = []
    for step in query:
        weights = torch.stack([key @ step for key in keys]).exp()
        weights = weights / weights.sum()
        aligned = sum((w * s for w, s in zip(weights, shot, strict=True)), torch.zeros_like(step))
        cosine = aligned @ step / (aligned.norm() * step.norm())
        compared.append(torch.stack([cosine, (aligned - step).norm()]))
    last = gru(compared, state, "comparator", "_l0")[-1]
    return torch.sigmoid(state["score.weight"][0] @ last + state["score.bias"][0])


def gru(steps: list[Tensor], state: State, name: str, suffix: str) -> list[Tensor]:
    """Gated recurrent units from a state of zeros, gates in the order reset, update, new."""
    w_in, w_state = state[f"{name}.weight_ih{suffix}"], state[f"{name}.weight_hh{suffix}"]
    b_in, b_state = state[f"{name}.bias_ih{suffix}"], state[f"{name}.bias_hh{suffix}"]
    hidden = torch.zeros(w_state.shape[1], dtype=w_state.dtype)
    out = []
    for step in steps:
        r_in, z_in, n_in = (w_in @ step + b_in).chunk(3)
        r_state, z_state, n_state = (w_state @ hidden + b_state).chunk(3)
        reset, update = torch.sigmoid(r_in + r_state), torch.sigmoid(z_in + z_state)
        hidden = (1 - update) * torch.tanh(n_in + reset * n_state) + update * hidden
        out.append(hidden)
    return out
