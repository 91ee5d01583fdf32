"""What TTM, TC and SC recover of the accuracy that misalignment costs, on maps whose misalignment is known.

    python benchmarks/alignment.py --seeds 5 --results alignment.jsonl --table alignment.md --plot alignment.svg

For each seed a world of classes is drawn. For each kind of misalignment the heads that learn are trained on base
classes at full strength, and every head is tested on the same episodes of new classes at rising strengths. Every
(seed, kind, head) is a line of the results: a stopped run continues where it was.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from line_chart import Panel, line_chart
from numpy.typing import NDArray
from synthetic_maps import KINDS, World
from torch import Tensor

from ta2n.pipeline.heads import Head, build_head

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
BASE_CLASSES, NEW_CLASSES, WAY = 400, 100, 5
TRAIN_QUERIES, TEST_QUERIES, TEST_EPISODES = 3, 3, 30
# Adam's, by part of TA2N. The locating network of TTM and the offset network of SC are deep and want small steps; the
# single layers of TC, which begin at the identity, want larger ones.
RATES = {"firststage": 3e-4, "mvnet": 3e-4, "keynet": 3e-3, "querynet": 3e-3, "valuenet": 3e-3}
# Two-sided 95 % quantiles of Student's t for a mean of n seeds.
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}

Episode = tuple[Tensor, Tensor, Tensor]
# Accuracy at each strength by (seed, kind, head).
Results = dict[tuple[int, str, str], list[float]]
HEADS: dict[str, Callable[..., Head]] = {
    "ProtoNet": partial(build_head, "protonet"),
    "OTAM": partial(build_head, "otam"),
    "TA2N, all off": partial(build_head, "ta2n", ttm=False, tc=False, sc=False),
    "SC, untrained": partial(build_head, "sc"),
    "TTM": partial(build_head, "ttm"),
    "TTM, no dropout": partial(build_head, "ttm", dropout=0.0),
    "TC": partial(build_head, "tc"),
    "SC": partial(build_head, "sc"),
    "TTM+TC": partial(build_head, "ttm+tc"),
    "TA2N": partial(build_head, "ta2n"),
}
# The kind of misalignment each module is made for, and what it is before training.
OWN = {"TTM": ("duration", "TA2N, all off"), "TC": ("evolution", "TA2N, all off"), "SC": ("space", "SC, untrained")}
UNTRAINED = ("ProtoNet", "OTAM", "TA2N, all off", "SC, untrained")
MIXES = {**{kind: (kind,) for kind in KINDS}, "all": KINDS}


def draw_episode(world: World, number: int, kind: str, strength: float, *, new: bool, queries: int) -> Episode:
    """Support (N, C, T, H, W), queries, and their classes; the clips of a number differ between strengths in looks."""
    first, count = (BASE_CLASSES, NEW_CLASSES) if new else (0, BASE_CLASSES)
    generator = np.random.default_rng([world.seed, 9, int(new), number])
    classes = first + generator.choice(count, WAY, replace=False)
    labels = np.concatenate([classes, np.repeat(classes, queries)])
    maps = world.clips(labels, 10**6 * int(new) + number, kinds=MIXES[kind], strength=strength)
    return maps[:WAY], maps[WAY:], torch.arange(WAY).repeat_interleave(queries)


def train(head: Head, world: World, kind: str, steps: int) -> None:
    """Train a head on base classes at full strength, an episode a step."""
    groups = [
        {"params": [weight], "lr": next((rate for part, rate in RATES.items() if part in name.split(".")), 3e-3)}
        for name, weight in head.named_parameters()
    ]
    optimizer = torch.optim.Adam(groups)
    head.train()
    for number in range(steps):
        support, query, labels = draw_episode(world, number, kind, 1.0, new=False, queries=TRAIN_QUERIES)
        torch.manual_seed(number)
        loss = head.loss(head(support, query), labels) / len(labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@torch.inference_mode()
def test(head: Head, episodes: Sequence[Episode]) -> float:
    """Accuracy in percent."""
    head.eval()
    right = [head(support, query).argmin(1) == labels for support, query, labels in episodes]
    return 100 * float(torch.cat(right).float().mean())


def measure(world: World, kind: str, wanted: Sequence[str], steps: int) -> dict[str, list[float]]:
    """Accuracy of each head at each strength."""
    heads = {}
    for name in wanted:
        heads[name] = HEADS[name](channels=world.channels, frames=world.frames, size=world.size, seed=world.seed)
        if name not in UNTRAINED:
            train(heads[name], world, kind, steps)
    found: dict[str, list[float]] = {name: [] for name in wanted}
    for strength in STRENGTHS:
        episodes = [
            draw_episode(world, number, kind, strength, new=True, queries=TEST_QUERIES)
            for number in range(TEST_EPISODES)
        ]
        for name, head in heads.items():
            found[name].append(test(head, episodes))
    return found


def run(seeds: int, steps: int, file: Path) -> Results:
    """Measure what is not in the results yet."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    found = {(line["seed"], line["kind"], line["head"]): line["accuracy"] for line in lines if line["steps"] == steps}
    for seed in range(seeds):
        world = World(seed, size=5)
        for kind in MIXES:
            wanted = [name for name in HEADS if (seed, kind, name) not in found]
            start = time.monotonic()
            for name, accuracy in measure(world, kind, wanted, steps).items() if wanted else ():
                found[seed, kind, name] = accuracy
                line = {"seed": seed, "kind": kind, "head": name, "steps": steps, "accuracy": accuracy}
                with file.open("a") as results:
                    results.write(json.dumps(line) + "\n")
            print(f"seed {seed}, {kind}: {time.monotonic() - start:.0f} s", flush=True)
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds, and the half-width of its 95 % interval."""
    return mean(values), STUDENT[len(values)] * stdev(values) / sqrt(len(values))


def write_tables(found: Results, seeds: int) -> str:
    """Markdown: each module on its own kind, then every head on every kind at half and at full strength."""
    parts = [own_table(found, seeds)]
    for strength in (0.5, 1.0):
        parts.append(f"Strength {strength:g}: accuracy, and in brackets the paired difference to ProtoNet.\n")
        parts.append(head_table(found, seeds, STRENGTHS.index(strength)))
    return "\n".join(parts)


def own_table(found: Results, seeds: int) -> str:
    """Markdown: what a kind costs ProtoNet at full strength, and what training the module made for it brings."""
    lines = [
        "| module, kind | ProtoNet loses | module against ProtoNet | against itself untrained |",
        "|---|---|---|---|",
    ]
    for name, (kind, untrained) in OWN.items():
        own, base, twin = (at_strength(found, seeds, kind, head, -1) for head in (name, "ProtoNet", untrained))
        lost = at_strength(found, seeds, kind, "ProtoNet", 0) - base
        cells = ["{:.1f} ± {:.1f}".format(*interval(lost.tolist()))]
        cells += ["{:+.1f} ± {:.1f}".format(*interval((own - other).tolist())) for other in (base, twin)]
        lines.append(f"| {name}, {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def head_table(found: Results, seeds: int, place: int) -> str:
    """Markdown: accuracy of each head and kind at one of the strengths, and its paired difference to ProtoNet."""
    lines = ["| head | " + " | ".join(MIXES) + " |", "|---|" + "---|" * len(MIXES)]
    for name in HEADS:
        cells = []
        for kind in MIXES:
            own, base = (at_strength(found, seeds, kind, head, place) for head in (name, "ProtoNet"))
            cell = "{:.1f} ± {:.1f}".format(*interval(own.tolist()))
            gain = " ({:+.1f} ± {:.1f})".format(*interval((own - base).tolist()))
            cells.append(cell + ("" if name == "ProtoNet" else gain))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def at_strength(found: Results, seeds: int, kind: str, head: str, place: int) -> NDArray[np.float64]:
    """Accuracy of each seed."""
    return np.array([found[seed, kind, head][place] for seed in range(seeds)])


def draw_plot(found: Results, seeds: int) -> str:
    """One panel for each kind of misalignment."""
    panels = [
        Panel(
            kind,
            {
                name: [interval([found[seed, kind, name][place] for seed in range(seeds)]) for place in range(5)]
                for name in HEADS
            },
        )
        for kind in MIXES
    ]
    return line_chart(panels, STRENGTHS, x_label="strength", y_label="accuracy, %", y_range=(20, 100), dashed=UNTRAINED)


def main() -> None:
    """Measure, and write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, choices=sorted(STUDENT))
    parser.add_argument("--steps", type=int, default=300, help="training episodes of each head")
    parser.add_argument("--results", type=Path, default=Path("alignment.jsonl"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found = run(given.seeds, given.steps, given.results)
    tables = write_tables(found, given.seeds)
    print(tables)
    if given.table:
        given.table.write_text(tables)
    if given.plot:
        given.plot.write_text(draw_plot(found, given.seeds))


if __name__ == "__main__":
    main()
