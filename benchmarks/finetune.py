"""One step of fine-tuning: exact gradients in the memory of one clip, beside plain autograd through all clips at once.

    python benchmarks/finetune.py --json finetune.json
    python benchmarks/finetune.py --backbone resnet18 --frames 4 --side 112 --grad-clips 5

Each case runs in a process of its own, whose peak memory is what the system says. Weights are random: only cost counts.
Stages before the first that learns run once for a clip, without gradients, in both ways. Plain autograd gets at most
--limit GB, and no more than is free; where that is not enough its cells say so.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from side_by_side import print_table, write_json

STARTS = {"layer4": "layer3", "layer3+": "layer2", "all": None}
"""What learns, and the layer before it."""
WANTED_TIME, WANTED_MEMORY = 1.4, 0.1
_KILOBYTE = 1 if sys.platform == "darwin" else 1024
_TOO_LARGE = 3


def clips_of(given: Mapping[str, Any]) -> int:
    """Clips of an episode."""
    return int(given["way"] * (given["shot"] + given["queries"]))


def step(given: Mapping[str, Any]) -> dict[str, float]:
    """Runs one case in this process.

    Args:
        given: the command line's values, with ``trainable``, and ``k`` clips of step 3: None for all, 0 for plain
            autograd.

    Returns:
        Seconds of a step, the process's peak in bytes, the bytes of it that came with the steps, and the norm of the
        backbone's gradient.
    """
    import torch  # imported here: the parent needs none

    from ta2n.pipeline.heads import build_head

    torch.manual_seed(0)
    front, learning, shape = parts(given)
    options = {"project": given["project"]} if given["project"] else {}
    head = build_head(given["method"], channels=shape[0], frames=given["frames"], size=shape[1], **options).eval()
    side = given["side"]
    frames = torch.rand(clips_of(given), given["frames"], 3, side, side)
    before, seconds = _resident(), []
    for _ in range(given["steps"]):
        learning.zero_grad()
        head.zero_grad()
        start = time.perf_counter()
        (plain_step if given["k"] == 0 else cached_step)(front, learning, head, frames, given)
        seconds.append(time.perf_counter() - start)
    peak = _peak()
    squares = sum(float(one.grad.square().sum()) for one in learning.parameters() if one.grad is not None)
    return {"seconds": min(seconds), "peak": peak, "step": max(0, peak - before), "norm": squares**0.5}


def parts(given: Mapping[str, Any]) -> tuple[Any, Any, tuple[int, int]]:
    """The stages that stay as they are (None without any), those that learn, and (C, H) of the maps."""
    import torch
    from torch import nn

    from ta2n.pipeline.features.backbones import load_unfolded
    from ta2n.pipeline.features.networks import frozen, network_of

    network = network_of(given["backbone"])
    whole = load_unfolded(given["backbone"], "random").module.to(memory_format=torch.channels_last)
    after = STARTS[given["trainable"]]
    learning = network.part(whole, after, network.last).eval().requires_grad_(True)
    front: nn.Module | None = None if after is None else frozen(network.part(whole, None, after))
    channels, size = network.layers[network.last]
    return front, learning, (channels, -(-size * given["side"] // 224))


def cached_step(front: Any, learning: Any, head: Any, frames: Any, given: Mapping[str, Any]) -> None:
    """One step by :func:`episode_backward`."""
    import torch

    from ta2n.pipeline.training.gradient_cache import episode_backward

    if front is not None:
        with torch.no_grad():
            frames = torch.stack([front(clip) for clip in frames])
    shots = given["way"] * given["shot"]
    episode_backward(
        learning,
        head,
        frames[:shots],
        frames[shots:],
        labels(given),
        shot=given["shot"],
        clips_at_once=given["clips_at_once"],
        grad_clips=given["k"],
    )


def plain_step(front: Any, learning: Any, head: Any, frames: Any, given: Mapping[str, Any]) -> None:
    """One step by a single backward through everything."""
    import torch

    passed = frames
    if front is not None:
        with torch.no_grad():
            passed = torch.stack([front(clip) for clip in frames])
    maps = learning(passed.flatten(0, 1)).unflatten(0, passed.shape[:2]).transpose(1, 2)
    shots, shot = given["way"] * given["shot"], given["shot"]
    support, query = head.embed_episode(maps[:shots], maps[shots:], shot)
    distances = head.compare(support, query, shot)
    terms = head.losses(distances, labels(given), support=support, query=query)
    torch.autograd.backward(torch.stack(list(terms.values())).sum())


def labels(given: Mapping[str, Any]) -> Any:
    """(Q,) int64."""
    import torch

    return torch.arange(given["way"]).repeat_interleave(given["queries"])


def _resident() -> int:
    """Bytes of this process in memory now; the peak so far where the system does not say."""
    file = Path("/proc/self/statm")
    if file.exists():
        return int(file.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTE


def _peak() -> int:
    """Bytes that this program ever held; getrusage begins at the size of the process that started it."""
    file = Path("/proc/self/status")
    if file.exists():
        return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTE


def limit_of(gigabytes: float) -> int:
    """Bytes that a case may take: what was asked for, at most what is free now."""
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.exists() else []
    free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return min(int(1e9 * gigabytes), *(int(0.9 * one) for one in free), sys.maxsize)


def child(given: Mapping[str, Any]) -> int:
    """What a process of one case does: prints its figures as JSON, or ends with a status where memory is not enough."""
    resource.setrlimit(resource.RLIMIT_DATA, (given["bytes"], given["bytes"]))
    try:
        print(json.dumps(step(given)))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            return _TOO_LARGE
        raise
    return 0


def measured(given: Mapping[str, Any]) -> dict[str, float] | None:
    """The figures of one case from a process of its own; None where its memory was not enough."""
    command = [sys.executable, __file__, "--case", json.dumps(given)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env={**os.environ})
    if done.returncode == _TOO_LARGE:
        return None
    if done.returncode:
        raise RuntimeError(f"a case ended with {done.returncode}: {given}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def rows_of(given: Mapping[str, Any], trainable: str, ks: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of one choice of what learns: plain autograd, all clips, and each k below that."""
    clips = clips_of(given)
    case = {**given, "trainable": trainable, "bytes": limit_of(given["limit"])}
    plain = measured({**case, "k": 0})
    rows = [_row(trainable, "plain autograd", plain, plain)]
    for k in (None, *(k for k in ks if k < clips)):
        found = measured({**case, "k": k})
        what = f"clip by clip, k = {clips if k is None else k} of {clips}"
        rows.append(_row(trainable, what, found, plain, exact=k is None))
    return rows


Found = Mapping[str, float] | None


def _row(trainable: str, what: str, found: Found, plain: Found, *, exact: bool = True) -> dict[str, Any]:
    """A line of the table; the norm of an exact gradient, beside plain's, says that the same was computed."""

    def of(name: str) -> float | str:
        return round(found[name] / plain[name], 3) if found and plain and plain[name] else ""

    none = "more than there is"
    return {
        "trainable": trainable,
        "step": what,
        "s a step": round(found["seconds"], 2) if found else none,
        "GB of the step": round(found["step"] / 1e9, 3) if found else none,
        "GB of the process": round(found["peak"] / 1e9, 3) if found else none,
        "time, of plain": of("seconds"),
        "memory, of plain": of("step"),
        "gradient, of plain": of("norm") if exact else "",
        "wanted": f"time ≤ {WANTED_TIME}, memory ≤ {WANTED_MEMORY}" if exact and found is not plain else "",
    }


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet50", help="a ResNet")
    parser.add_argument("--method", default="ta2n")
    parser.add_argument("--project", type=int, default=64, help="channels before the head; 0 for all")
    parser.add_argument("--trainable", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--way", type=int, default=5)
    parser.add_argument("--shot", type=int, default=1)
    parser.add_argument("--queries", type=int, default=5, help="of a class")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--side", type=int, default=224, help="of a frame, in pixels; a multiple of 32")
    parser.add_argument("--grad-clips", type=int, nargs="*", default=[10, 5], help="numbers k of clips, beside all")
    parser.add_argument("--clips-at-once", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2, help="of a case; the fastest counts")
    parser.add_argument("--limit", type=float, default=24.0, help="GB that a case may take")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every case and print the table; or be the process of one case."""
    given = vars(parse_arguments(arguments))
    if given["case"] is not None:
        return child(given["case"])
    names = ("backbone", "method", "project", "way", "shot", "queries", "frames", "side", "clips_at_once", "steps")
    episode = {name: given[name] for name in names}
    case = {**episode, "limit": given["limit"]}
    rows = [row for trainable in given["trainable"] for row in rows_of(case, trainable, given["grad_clips"])]
    print_table(rows)
    write_json(given["json"], episode=episode, steps=rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
