"""Extraction beside its limits: the forward pass alone, decoding alone, the stage, and the loop that users write.

    python benchmarks/extraction.py --root CLIPS
    python benchmarks/extraction.py --flat 5000

Clips are the video files below a folder, by default a few that are rendered for the purpose. Weights are random: only
speed is measured. With ``--flat``, the memory held by the process instead, as it extracts that many clips through a
small network.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
import torchvision
from side_by_side import interleaved, paired_ratio, print_table, write_json
from torch import nn

from ta2n.cache_schema.table import VideoTable
from ta2n.pipeline.demo.render import render_demo_clips
from ta2n.pipeline.evaluation.costs import held_bytes
from ta2n.pipeline.features.backbones import load_backbone
from ta2n.pipeline.features.extract import Summary, extract
from ta2n.pipeline.features.forward import Forward
from ta2n.pipeline.features.plan import BackboneSpec, Plan
from ta2n.pipeline.videos.decode import DecodeJob
from ta2n.pipeline.videos.pool import DecodePool

CPU = torch.device("cpu")
SUFFIXES = {".avi", ".mp4", ".webm", ".mkv"}
BATCH = 8


def plan_of(files: Sequence[Path], backbone: BackboneSpec, frames: int) -> Plan:
    """A plan for some files; one may occur more than once."""
    rows = [(f"{number:06d}", str(file), "clip", "train") for number, file in enumerate(files)]
    return Plan(dataset="clips", videos=VideoTable.from_rows(rows, root="/"), backbone=backbone, frames=frames)


def eager_network() -> nn.Module:
    """ResNet-50 as torchvision builds it, without its last two layers."""
    network = torchvision.models.resnet50(weights=None, zero_init_residual=True).eval()
    return nn.Sequential(*list(network.children())[:-2])


@torch.no_grad()
def plain_loop(network: nn.Module, files: Sequence[Path], frames: int, _: int = 0) -> None:
    """What a script does: open, fetch the middle frames of the segments, scale, crop, run."""
    import decord  # not above: it publishes its own codec libraries to whatever is loaded later, PyAV's encoders too

    for file in files:
        video = decord.VideoReader(str(file), width=256, height=256)
        middles = (np.arange(frames) + 0.5) * len(video) / frames
        images = torch.from_numpy(video.get_batch(middles.astype(int)).asnumpy()).permute(0, 3, 1, 2).float() / 255
        network(F.pad(images, (-16, -16, -16, -16))).half().numpy()


def decode_all(plan: Plan, workers: int, _: int = 0) -> None:
    """Decodes every clip of a plan, and drops it."""
    jobs = (
        DecodeJob(str(row), Path("/") / str(path), plan.rule, plan.frames, 1, 0, plan.preprocessing.resize)
        for row, path in enumerate(plan.videos.path)
    )
    with DecodePool(workers=workers) as pool:
        for _clip in pool.map(jobs):
            pass


@torch.no_grad()
def run_eager(network: nn.Module, images: np.ndarray[Any, Any], _: int = 0) -> None:
    """The network on (B, H, W, 3) bytes, in batches."""
    for start in range(0, len(images), BATCH):
        network(torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2).float() / 255)


def measure(files: Sequence[Path], given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Clips per second of each case."""
    backbone = load_backbone("resnet50", "random")
    plan = plan_of(files, backbone.spec, given.frames)
    forward = Forward(backbone.module, plan.preprocessing, CPU, BATCH)
    start = time.perf_counter()
    compiled = Forward(backbone.module, plan.preprocessing, CPU, BATCH, compiled=True)
    print(f"compiling took {time.perf_counter() - start:.0f} s\n")
    images = np.random.default_rng(0).integers(0, 256, (len(files) * given.frames, 224, 224, 3), dtype=np.uint8)
    eager, numbers = eager_network(), itertools.count()

    def stage(made: Forward, _: int) -> None:
        # Compiled beforehand: a data set of thousands of clips does not notice the seconds, these few would.
        with mock.patch("ta2n.pipeline.features.extract.Forward", return_value=made):
            extract(
                plan,
                folder / f"{next(numbers)}.zarr",
                device=CPU,
                network=backbone.module,
                compiled=made.compiled,
                workers=given.workers,
            )

    cases: dict[str, Callable[[int], object]] = {
        "forward, torchvision": partial(run_eager, eager, images),
        "forward": lambda _: forward(images),
        "forward, compiled": lambda _: compiled(images),
        "decode": partial(decode_all, plan, given.workers),
        "stage": partial(stage, forward),
        "stage, compiled": partial(stage, compiled),
        "plain loop": partial(plain_loop, eager, files, given.frames),
    }
    times = interleaved(cases, given.repeats)
    rows = []
    for name, found in times.items():
        is_stage = name.startswith("stage")
        parts = times[name.replace("stage", "forward")].median, times["decode"].median
        plain = times["plain loop" if is_stage else "forward, torchvision"]
        rows.append(
            {
                "case": name,
                "clips/s": len(files) / found.median,
                "spread": found.spread,
                "times the plain": "" if name == "decode" else paired_ratio(found, plain),
                "of the slower part": max(parts) / found.median if is_stage else "",
                "of both parts in turn": sum(parts) / found.median if is_stage else "",
            }
        )
    return rows


class Small(nn.Module):
    """A network of next to no cost, so that many clips go through."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, 3, 7, 7)."""
        return F.adaptive_avg_pool2d(images, 7)


def measure_memory(files: Sequence[Path], clips: int, workers: int, folder: Path) -> list[dict[str, Any]]:
    """Megabytes held by this process, ten times on the way."""
    backbone = BackboneSpec(name="small", weights="none", weights_sha256="0" * 64, layer="pool", channels=3)
    plan = plan_of([files[number % len(files)] for number in range(clips)], backbone, 8)
    rows: list[dict[str, Any]] = []

    def on_clip(summary: Summary) -> None:
        if (summary.done + len(summary.failed)) % max(1, clips // 10) == 0:
            rows.append({"clips": summary.done, "MB": held_bytes() / 1e6})

    extract(plan, folder / "flat.zarr", device=CPU, network=Small(), workers=workers, on_clip=on_clip)
    return rows


def find_files(given: argparse.Namespace, folder: Path) -> list[Path]:
    """The clips to extract: evenly from those below the root, or rendered ones."""
    if given.root is None:
        render_demo_clips(folder / "rendered", clips_per_class=-(-given.clips // 20))
    files = sorted(file for file in (given.root or folder).absolute().rglob("*") if file.suffix in SUFFIXES)
    return [files[index] for index in np.linspace(0, len(files) - 1, min(given.clips, len(files))).astype(int)]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder with clips")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2, help="decoding processes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--flat", type=int, metavar="CLIPS", help="measure memory over this many clips instead")
    parser.add_argument("--json", type=Path, help="file to write")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure, and print the table."""
    given = parse_arguments()
    with tempfile.TemporaryDirectory() as name:
        files = find_files(given, Path(name))
        if given.flat:
            rows = measure_memory(files, given.flat, given.workers, Path(name))
        else:
            rows = measure(files, given, Path(name))
    print_table(rows)
    write_json(given.json, extraction=rows)


if __name__ == "__main__":
    main()
