"""What a GPU makes of it, in under eight minutes and without a data set: one section a stage, its limit beside it.

    python benchmarks/gpu.py --json gpu.json
    python benchmarks/gpu.py --device cpu --tiny

Maps and weights are synthetic: speed is measured, and that results agree with those of another way. A section that the
time left does not allow is reported as left out, never dropped.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from evaluation import make_store, random_head, written
from heads import MODES, plain_form
from side_by_side import print_table, write_json

from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.evaluation.costs import count_flops, peak_bytes
from ta2n.pipeline.evaluation.embeddings import embed_all
from ta2n.pipeline.evaluation.evaluate import evaluate
from ta2n.pipeline.features.backbones import load_backbone
from ta2n.pipeline.heads import Head, build_head
from ta2n.pipeline.training.loop import train_head
from ta2n.pipeline.training.settings import Settings

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    shape: tuple[int, int, int, int] = (2048, 8, 7, 7)
    videos: int = 1000
    episodes: int = 10_000
    steps: int = 200
    matrix: int = 8192
    batch: int = 256
    repeats: int = 5


TINY = Sizes(shape=(4, 4, 7, 7), videos=600, episodes=5, steps=2, matrix=64, batch=1, repeats=1)


def seconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median time of a call, its work on the device included, after one to warm up."""
    call()
    found = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def synchronize(device: torch.device) -> None:
    """Waits for what is queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rates(device: torch.device, sizes: Sizes) -> list[Row]:
    """Matrix products a second in each precision, and bytes a second to and within the device."""
    rows: list[Row] = []
    for name, dtype, tf32 in (
        ("float32", torch.float32, False),
        ("TF32", torch.float32, True),
        ("bfloat16", torch.bfloat16, False),
        ("float16", torch.float16, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        left, right = torch.rand(2, sizes.matrix, sizes.matrix, device=device).to(dtype)
        took = seconds(partial(torch.mm, left, right), device, sizes.repeats)
        rows.append({"machine": f"{name} product", "value": 2 * sizes.matrix**3 / took / 1e12, "unit": "TFLOP/s"})
    torch.backends.cuda.matmul.allow_tf32 = False
    host = torch.empty(16 * sizes.matrix**2 // 4, dtype=torch.uint8, pin_memory=device.type == "cuda")
    there = host.to(device)
    for name, call in {"copy to it": lambda: there.copy_(host), "copy within it": lambda: there.clone()}.items():
        rows.append(
            {"machine": name, "value": host.nbytes / seconds(call, device, sizes.repeats) / 1e9, "unit": "GB/s"}
        )
    return rows


def heads(device: torch.device, sizes: Sizes) -> list[Row]:
    """Every method's episode; TA2N's also as written, compiled, and as a CUDA graph."""
    left, right = torch.rand(2, sizes.matrix, sizes.matrix, device=device)
    rate = 2 * sizes.matrix**3 / seconds(partial(torch.mm, left, right), device, sizes.repeats)
    C, T, _, S = sizes.shape
    rows: list[Row] = []
    for name, shot in [("ta2n", 1), ("ta2n", 5), ("otam", 1), ("trx", 1), ("arn", 1), ("protonet", 1)]:
        clips = torch.rand((5 * shot + 25, *sizes.shape), device=device).half()
        support, query = clips[: 5 * shot], clips[5 * shot :]
        options: dict[str, Any] = {"dropout": 0.0} if name == "ta2n" else {}
        head = build_head(name, channels=C, frames=T, size=S, **options).to(device)
        forms: dict[str, Callable[[], torch.Tensor]] = {name: partial(head, support, query, shot=shot)}
        if name == "ta2n":
            forms["as written"] = plain_form("tensors", head, support, query, shot)
        for form, call in forms.items():
            for mode, run in MODES.items():
                work = partial(run, head, call)
                took = seconds(work, device, sizes.repeats)
                rows.append(
                    {
                        "head": f"{form} {shot}-shot",
                        "mode": mode,
                        "ms": 1e3 * took,
                        "MB": (peak_bytes(work, device) or 0) / 1e6,
                        "of the float32 rate": count_flops(work) / rate / took,
                        "note": "",
                    }
                )
        if name == "ta2n":
            rows += [
                what_if(head, support, query, shot, mode, device, sizes.repeats)
                for mode in ("default", "reduce-overhead")
            ]
    return rows


def what_if(
    head: Head, support: torch.Tensor, query: torch.Tensor, shot: int, mode: str, device: torch.device, repeats: int
) -> Row:
    """Evaluation through torch.compile, with CUDA graphs under *reduce-overhead*; a failure is a result too."""
    row: Row = {"head": f"compiled, {mode}, {shot}-shot", "mode": "evaluation", "ms": "", "MB": "", "note": ""}
    row["of the float32 rate"] = ""
    head.eval()
    try:
        with torch.inference_mode():
            compiled = torch.compile(head, mode=mode)
            row["ms"] = 1e3 * seconds(partial(compiled, support, query, shot=shot), device, repeats)
            difference = (compiled(support, query, shot=shot) - head(support, query, shot=shot)).abs().max()
            row["note"] = f"differs by {float(difference):.1e}"
    except Exception as error:
        row["note"] = f"failed: {type(error).__name__}: {str(error).strip().splitlines()[0][:80]}"
    return row


def training(device: torch.device, sizes: Sizes) -> list[Row]:
    """Episodes a second of TA2N, with the maps on the device and on disk, and the share spent waiting for them."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cache = make_store(Path(folder) / "maps.zarr", min(sizes.videos, 300), sizes.shape, split="train")
        for place in ("device", "disk"):
            settings = Settings(
                method="ta2n", epochs=1, episodes_per_epoch=sizes.steps, val_episodes=0, frames=sizes.shape[1]
            )
            start = time.perf_counter()
            result = train_head(cache, settings, Path(folder) / place, device=device, place=place)
            spent = result.seconds
            rows.append(
                {
                    "maps": place,
                    "episodes/s": sizes.steps / sum(spent.values()),
                    "waiting": spent.get("wait", 0.0) / sum(spent.values()),
                    "whole run, s": time.perf_counter() - start,
                }
            )
    return rows


@torch.inference_mode()
def evaluation(device: torch.device, sizes: Sizes) -> list[Row]:
    """All test episodes of TA2N, and how far its distances are from those of the method as written."""
    with tempfile.TemporaryDirectory() as folder:
        cache = make_store(Path(folder) / "maps.zarr", sizes.videos, sizes.shape)
        rows = np.arange(len(cache))
        loader = MapLoader(cache, frames=sizes.shape[1], device=device, rows=rows, place="device")
        episodes = Episodes(cache.labels("test"), way=5, shot=1, queries=5, seed=0)
        head = random_head(sizes.shape).to(device)
        start = time.perf_counter()
        accuracies = evaluate(head, loader, episodes, sizes.episodes)
        synchronize(device)
        took = time.perf_counter() - start
        episode = episodes[0]
        expected = written(head, loader, episode)
        kept = embed_all(head, loader, np.concatenate([episode.support, episode.query]), 1)
        assert kept is not None
        found = head.compare(kept.take(np.arange(5)), kept.take(np.arange(5, 30)))
        difference = float(((found - expected) / expected).abs().max())
    return [
        {
            "episodes": len(accuracies),
            "seconds": took,
            "episodes/s": len(accuracies) / took,
            "distances differ by": difference,
        }
    ]


@torch.inference_mode()
def extraction(device: torch.device, sizes: Sizes) -> list[Row]:
    """Frames a second of ResNet-50, and the cosine of the features with those in float32."""
    module = load_backbone("resnet50", "random").module.to(device)
    images = torch.rand(sizes.batch, 3, 224, 224, device=device).to(memory_format=torch.channels_last)
    expected = module(images)
    rows: list[Row] = []
    for name, dtype, compiled in (
        ("float32", None, False),
        ("float32, compiled", None, True),
        ("bfloat16", torch.bfloat16, False),
        ("float16", torch.float16, False),
        ("float16, compiled", torch.float16, True),
    ):
        if compiled and device.type != "cuda":
            continue
        network = torch.compile(module) if compiled else module
        with torch.autocast(device.type, dtype) if dtype else nullcontext():
            took = seconds(partial(network, images), device, sizes.repeats)
            found = network(images).float()
        cosine = F.cosine_similarity(found.flatten(1), expected.flatten(1)).min()
        rows.append({"forward": name, "frames/s": sizes.batch / took, "least cosine": f"{float(cosine):.6f}"})
    return rows


SECTIONS: dict[Callable[[torch.device, Sizes], list[Row]], float] = {
    rates: 10,
    heads: 150,
    evaluation: 120,
    training: 90,
    extraction: 90,
}
"""Each with the seconds that must be left to begin it."""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that only try the script")
    parser.add_argument("--budget", type=float, default=450, help="seconds")
    parser.add_argument("--json", type=Path, help="file to write")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Run the sections in order, and print a table of each as it ends."""
    given = parse_arguments(arguments)
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here; --device cpu --tiny tries the script only")
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(f"{card}, torch {torch.__version__}")
    start, results = time.perf_counter(), {}
    for section, needed in SECTIONS.items():
        left = given.budget - (time.perf_counter() - start)
        name = section.__name__
        rows = (
            section(device, TINY if given.tiny else Sizes()) if left >= needed else [{"left out": name, "s left": left}]
        )
        print(f"\n{name}, {time.perf_counter() - start:.0f} s after the start\n")
        print_table(rows)
        results[name] = rows
        write_json(given.json, card=card, **results)
    return results


if __name__ == "__main__":
    main()
