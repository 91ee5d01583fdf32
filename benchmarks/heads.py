"""Heads at work on maps in memory: TA2N against its plain form, and every head against its arithmetic.

    python benchmarks/heads.py --json heads.json

TA2N's plain forms are *reference*, with loops over videos and pairs (``tests/reference``), and *tensors*, the same
equations on whole tensors, with a map for every pair of clips. A head's limit is what its convolutions and matrix
products take at the rate of a large matrix product, measured in the same run.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from side_by_side import interleaved, paired_ratio, print_table, write_json
from torch import Tensor

from ta2n.pipeline.evaluation.costs import count_flops, peak_bytes
from ta2n.pipeline.heads import HEADS, Head, build_head
from ta2n.pipeline.heads.acm import overlap_mask
from ta2n.pipeline.heads.ttm import hat_matrix

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "reference"))
from plain_ta2n import State, find_offsets, fuse_shots, locate, plain_ta2n, value_map

CPU = torch.device("cpu")
RATE_SIDE = 2048
"""Of the square matrices whose product tells the machine's rate."""

Form = Callable[[], Tensor]


def written_ta2n(support: Tensor, query: Tensor, state: State, *, train: bool, shot: int = 1) -> Tensor:
    """All stages: (N·K, C, T, H, W), (Q, C, T, H, W) -> (Q, N), through N·Q maps of 2·C channels."""
    support, query = (
        torch.einsum("bst,bcthw->bcshw", hat_matrix(locate(maps, state, train), maps.shape[2]), maps)
        for maps in (support, query)
    )
    if shot > 1:
        support = torch.stack([fuse_shots(shots, state) for shots in torch.split(support, shot)])
        query = torch.stack([value_map(video, state) for video in query])
    N, Q, size = len(support), len(query), support.shape[-1]
    key, question, value = (state[f"secondstage.{n}net.weight"][:, :, 0] for n in ("key", "query", "value"))
    s, q = support.mean((3, 4)).transpose(1, 2), query.mean((3, 4)).transpose(1, 2)  # (…, T, C)
    logits = torch.einsum("nsc,qtc->nqst", s @ key.T, q @ question.T) / sqrt(s.shape[2])
    added = logits.softmax(3) @ (q @ value.T)  # (N, Q, T, C)
    support = support + (s @ value.T).transpose(1, 2)[..., None, None]
    pairs_s = support[:, None].expand(-1, Q, -1, -1, -1, -1).flatten(0, 1)
    pairs_q = (query + added.transpose(2, 3)[..., None, None]).flatten(0, 1)
    offsets = find_offsets(torch.cat([pairs_s, pairs_q], dim=1), state, train)  # (N·Q, T, 2)
    steps = torch.tensor([-0.2, 0.0, 0.2], device=offsets.device)
    nine = torch.cartesian_prod(steps, steps)
    masks = [overlap_mask(sign * offsets[:, :, None] + nine, size) for sign in (1, -1)]
    s_mask, q_mask = ((mask / mask.sum((3, 4), keepdim=True)).mean(2)[:, None] for mask in masks)
    aligned = (pairs_s * s_mask).sum((3, 4)), (pairs_q * q_mask).sum((3, 4))
    return (1 - F.cosine_similarity(*aligned, dim=1)).sum(1).view(N, Q).T


def plain_form(name: str, head: Head, support: Tensor, query: Tensor, shot: int) -> Form:
    """TA2N with a head's weights and in its mode, as *reference* or *tensors*; it has to widen the maps first."""
    state: State = dict(head.named_parameters()) | dict(head.named_buffers())
    if name == "reference":
        return lambda: plain_ta2n(support.float(), query.float(), shot, state, train=head.training).distances
    return lambda: written_ta2n(support.float(), query.float(), state, train=head.training, shot=shot)


def evaluate(head: Head, form: Form, _: int = 0) -> None:
    """One episode without gradients."""
    head.eval()
    with torch.inference_mode():
        form()


def step(head: Head, form: Form, _: int = 0) -> None:
    """One episode's loss and gradients."""
    head.train()
    distances = form()
    if distances.requires_grad:
        labels = torch.arange(len(distances)) % distances.shape[1]
        weights = list(head.parameters())
        torch.autograd.grad(F.cross_entropy(-distances, labels, reduction="sum"), weights, allow_unused=True)


MODES = {"evaluation": evaluate, "training step": step}


def compare_forms(given: argparse.Namespace, shot: int) -> list[dict[str, Any]]:
    """TA2N and its plain form in turn, by mode: times, their ratio, peak memory, and the limit."""
    support, query = episode(given, shot)
    head = build_head("ta2n", channels=given.channels, frames=given.frames, size=given.size, dropout=0.0)
    ours: Form = lambda: head(support, query, shot=shot)  # noqa: E731
    plain = plain_form(given.plain, head, support, query, shot)
    left, right = torch.rand(2, RATE_SIDE, RATE_SIDE)
    product = torch.empty(RATE_SIDE, RATE_SIDE)
    rows = []
    for mode, run in MODES.items():
        calls = {"ours": partial(run, head, ours), "plain": partial(run, head, plain)}
        times = interleaved(calls | {"rate": lambda _: torch.mm(left, right, out=product)}, given.repeats)
        peak = {name: peak_bytes(call, CPU) or float("nan") for name, call in calls.items()}
        limit = count_flops(calls["ours"]) / (2 * RATE_SIDE**3) * times["rate"].median
        rows.append(
            {
                "ta2n": f"{shot}-shot {mode}",
                "ms": 1e3 * times["ours"].median,
                "spread": times["ours"].spread,
                f"{given.plain} ms": 1e3 * times["plain"].median,
                "times as fast": paired_ratio(times["ours"], times["plain"]),
                "MB": peak["ours"] / 1e6,
                f"{given.plain} MB": peak["plain"] / 1e6,
                "of its memory": peak["ours"] / peak["plain"],
                "limit ms": 1e3 * limit,
                "of the limit": times["ours"].median / limit,
            }
        )
    return rows


def measure_heads(given: argparse.Namespace, shot: int) -> list[dict[str, Any]]:
    """Every head's times and peak memory beside its limit."""
    support, query = episode(given, shot)
    left, right = torch.rand(2, RATE_SIDE, RATE_SIDE)
    product = torch.empty(RATE_SIDE, RATE_SIDE)
    calls: dict[tuple[str, str], Callable[[int], object]] = {}
    projected = [("ta2n", width) for width in given.project]
    for name, width in [*((name, None) for name in given.methods), *projected]:
        head = build_head(name, channels=given.channels, frames=given.frames, size=given.size, project=width)
        form = partial(head, support, query, shot=shot)
        called = name if width is None else f"{name} --project {width}"
        calls |= {(called, mode): partial(run, head, form) for mode, run in MODES.items()}
    times = interleaved({**calls, ("rate", ""): lambda _: torch.mm(left, right, out=product)}, given.repeats)
    rate = 2 * RATE_SIDE**3 / times["rate", ""].median
    rows = []
    for (name, mode), call in calls.items():
        limit = count_flops(lambda call=call: call(0)) / rate  # type: ignore[misc]
        rows.append(
            {
                "head": f"{name} {shot}-shot",
                "mode": mode,
                "ms": 1e3 * times[name, mode].median,
                "spread": times[name, mode].spread,
                "limit ms": 1e3 * limit,
                "MB": (peak_bytes(lambda call=call: call(0), CPU) or float("nan")) / 1e6,  # type: ignore[misc]
            }
        )
    return rows


def episode(given: argparse.Namespace, shot: int) -> tuple[Tensor, Tensor]:
    """Support and query maps in float16, as a cache has them."""
    generator = torch.Generator().manual_seed(0)
    shape = (given.channels, given.frames, given.size, given.size)
    clips = torch.rand((given.way * shot + given.queries, *shape), generator=generator).half()
    return clips[: given.way * shot], clips[given.way * shot :]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=2048)
    parser.add_argument("--way", type=int, default=5)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--queries", type=int, default=25, help="query clips in all")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    plain = ("reference", "tensors", "none")
    parser.add_argument("--plain", choices=plain, default=plain[0], help="form of TA2N in the first table")
    parser.add_argument("--methods", nargs="*", choices=HEADS, default=list(HEADS), help="of the second table")
    parser.add_argument("--project", type=int, nargs="*", default=[256, 512, 1024], help="widths of TA2N there")
    parser.add_argument("--json", type=Path, help="file to write")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure, and print both tables."""
    given = parse_arguments()
    torch.set_num_threads(given.threads)
    print(f"{given.way}-way, {given.queries} queries, C={given.channels}, {given.threads} threads\n", flush=True)
    forms, heads = [], []
    for shot in given.shots:
        if given.plain != "none":
            found = compare_forms(given, shot)
            print_table(found)
            print(flush=True)
            forms += found
        if given.methods or given.project:
            found = measure_heads(given, shot)
            print_table(found)
            print(flush=True)
            heads += found
    write_json(given.json, ta2n=forms, heads=heads)


if __name__ == "__main__":
    main()
