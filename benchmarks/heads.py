"""TA2N as it is written against the factorised form: seconds per episode, in evaluation and per training step.

    python benchmarks/heads.py --channels 2048

*Written* means in whole tensors, but with a map for every pair of clips, as the method's equations have it.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ta2n.pipeline.heads import Head, build_head
from ta2n.pipeline.heads.acm import overlap_mask
from ta2n.pipeline.heads.ttm import hat_matrix

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "reference"))
from plain_ta2n import State, find_offsets, locate

Form = Callable[[], Tensor]


def written_ta2n(support: Tensor, query: Tensor, state: State, *, train: bool) -> Tensor:
    """One shot, all stages: (N, C, T, H, W), (Q, C, T, H, W) -> (Q, N), through N·Q maps of 2·C channels."""
    support, query = (
        torch.einsum("bst,bcthw->bcshw", hat_matrix(locate(maps, state, train), maps.shape[2]), maps)
        for maps in (support, query)
    )
    N, Q, size = len(support), len(query), support.shape[-1]
    key, question, value = (state[f"secondstage.{n}net.weight"][:, :, 0] for n in ("key", "query", "value"))
    s, q = support.mean((3, 4)).transpose(1, 2), query.mean((3, 4)).transpose(1, 2)  # (…, T, C)
    logits = torch.einsum("nsc,qtc->nqst", s @ key.T, q @ question.T) / sqrt(s.shape[2])
    added = logits.softmax(3) @ (q @ value.T)  # (N, Q, T, C)
    support = support + (s @ value.T).transpose(1, 2)[..., None, None]
    pairs_s = support[:, None].expand(-1, Q, -1, -1, -1, -1).flatten(0, 1)
    pairs_q = (query + added.transpose(2, 3)[..., None, None]).flatten(0, 1)
    offsets = find_offsets(torch.cat([pairs_s, pairs_q], dim=1), state, train)  # (N·Q, T, 2)
    steps = torch.tensor([-0.2, 0.0, 0.2])
    nine = torch.cartesian_prod(steps, steps)
    masks = [overlap_mask(sign * offsets[:, :, None] + nine, size) for sign in (1, -1)]
    s_mask, q_mask = ((mask / mask.sum((3, 4), keepdim=True)).mean(2)[:, None] for mask in masks)
    aligned = (pairs_s * s_mask).sum((3, 4)), (pairs_q * q_mask).sum((3, 4))
    return (1 - F.cosine_similarity(*aligned, dim=1)).sum(1).view(N, Q).T


def evaluate(form: Form) -> None:
    """One episode without gradients."""
    with torch.inference_mode():
        form()


def step(form: Form, weights: Sequence[Tensor]) -> None:
    """One episode's loss and gradients."""
    distances = form()
    labels = torch.arange(len(distances)) % distances.shape[1]
    torch.autograd.grad(F.cross_entropy(-distances, labels, reduction="sum"), weights, allow_unused=True)


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The shortest of ``repeats`` calls, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_megabytes() -> float:
    """The most memory this process has held so far; nan where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024


def measure(head: Head, form: Form, repeats: int) -> tuple[float, float]:
    """Seconds of an evaluation and of a training step."""
    head.eval()
    evaluation = seconds(partial(evaluate, form), repeats)
    head.train()
    return evaluation, seconds(partial(step, form, list(head.parameters())), repeats)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--way", type=int, default=5)
    parser.add_argument("--queries", type=int, default=25, help="query clips in all")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", choices=("light", "written"), help="one form alone")
    return parser.parse_args()


def main() -> None:
    """Measure, and print one line per form and their ratios."""
    given = parse_arguments()
    torch.set_num_threads(given.threads)
    generator = torch.Generator().manual_seed(0)
    shape = (given.channels, given.frames, given.size, given.size)
    support, query = (torch.rand((clips, *shape), generator=generator) for clips in (given.way, given.queries))
    head = build_head("ta2n", channels=given.channels, frames=given.frames, size=given.size, dropout=0.0)
    state: State = dict(head.named_parameters()) | dict(head.named_buffers())
    forms: dict[str, Form] = {
        "light": lambda: head(support, query),
        "written": lambda: written_ta2n(support, query, state, train=head.training),
    }
    print(f"{given.way}-way 1-shot, {given.queries} queries, C={given.channels}, {given.threads} threads")
    times = {}
    base = peak_megabytes()
    for name in [given.only] if given.only else forms:
        evaluation, training = times[name] = measure(head, forms[name], given.repeats)
        peak = peak_megabytes()
        print(f"{name:>8}: evaluation {evaluation:.2f} s, training step {training:.2f} s, peak +{peak - base:.0f} MB")
    if not given.only:
        evaluation, training = (w / n for n, w in zip(times["light"], times["written"], strict=True))
        print(f"   ratio: evaluation {evaluation:.1f}, training step {training:.1f}")


if __name__ == "__main__":
    main()
