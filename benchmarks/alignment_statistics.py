"""What dropout before batch normalisation costs TTM, TC, SC and TA2N: statistics taken once more without it.

    python benchmarks/alignment_statistics.py --seeds 5 --results statistics.jsonl --table statistics.md

Dropout on the maps is on in training and off in testing, and makes the numbers that a network normalises more variable.
The running statistics of training are then wrong in testing. Here heads are trained as in ``alignment.py``, tested, and
tested again after their statistics, and nothing else, were taken anew from training episodes without dropout.
"""

import argparse
import json
from pathlib import Path

import torch
from alignment import (
    HEADS,
    STRENGTHS,
    STUDENT,
    TEST_EPISODES,
    TEST_QUERIES,
    TRAIN_QUERIES,
    draw_episode,
    interval,
    test,
    train,
)
from synthetic_maps import World
from torch import nn

from ta2n.pipeline.heads import Head

WANTED = {"TTM": ("duration",), "SC": ("space",), "TA2N": ("all",)}
EPISODES = 50
# The episodes that statistics are taken from come after those of any training.
FIRST = 10**5


@torch.inference_mode()
def take_statistics(head: Head, world: World, kind: str) -> None:
    """Replace the running statistics of batch normalisation by the average over training episodes without dropout."""
    head.eval()
    layers = [layer for layer in head.modules() if isinstance(layer, nn.BatchNorm3d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    for number in range(FIRST, FIRST + EPISODES):
        support, query, _ = draw_episode(world, number, kind, 1.0, new=False, queries=TRAIN_QUERIES)
        head(support, query)
    head.eval()


def measure(world: World, name: str, kind: str, steps: int) -> list[list[float]]:
    """Accuracy at each strength, as trained and with the statistics taken anew."""
    head = HEADS[name](channels=world.channels, frames=world.frames, size=world.size, seed=world.seed)
    train(head, world, kind, steps)
    found = [accuracies(head, world, kind)]
    take_statistics(head, world, kind)
    return [*found, accuracies(head, world, kind)]


def accuracies(head: Head, world: World, kind: str) -> list[float]:
    """Accuracy at each strength, on the episodes of ``alignment.py``."""
    numbers = range(TEST_EPISODES)
    return [
        test(head, [draw_episode(world, n, kind, strength, new=True, queries=TEST_QUERIES) for n in numbers])
        for strength in STRENGTHS
    ]


def run(seeds: int, steps: int, file: Path) -> dict[tuple[str, str], list[list[list[float]]]]:
    """Measure what is not in the results yet; by (head, kind) a list over seeds."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    known = {(line["head"], line["kind"], line["seed"]): line["accuracy"] for line in lines if line["steps"] == steps}
    found: dict[tuple[str, str], list[list[list[float]]]] = {}
    for name, kinds in WANTED.items():
        for kind in kinds:
            for seed in range(seeds):
                if (name, kind, seed) not in known:
                    accuracy = measure(World(seed, size=5), name, kind, steps)
                    known[name, kind, seed] = accuracy
                    line = {"seed": seed, "kind": kind, "head": name, "steps": steps, "accuracy": accuracy}
                    with file.open("a") as results:
                        results.write(json.dumps(line) + "\n")
                found.setdefault((name, kind), []).append(known[name, kind, seed])
    return found


def write_table(found: dict[tuple[str, str], list[list[list[float]]]]) -> str:
    """Markdown: accuracy at full strength before and after, and the paired difference."""
    lines = ["| head, kind | as trained | statistics without dropout | difference |", "|---|---|---|---|"]
    for (name, kind), seeds in found.items():
        before, after = ([pair[place][-1] for pair in seeds] for place in range(2))
        cells = ["{:.1f} ± {:.1f}".format(*interval(values)) for values in (before, after)]
        cells.append("{:+.1f} ± {:.1f}".format(*interval([b - a for a, b in zip(before, after, strict=True)])))
        lines.append(f"| {name}, {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, choices=sorted(STUDENT))
    parser.add_argument("--steps", type=int, default=300, help="training episodes of each head")
    parser.add_argument("--results", type=Path, default=Path("statistics.jsonl"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    table = write_table(run(given.seeds, given.steps, given.results))
    print(table)
    if given.table:
        given.table.write_text(table)


if __name__ == "__main__":
    main()
