"""``ta2n demo``: the main job end to end, on clips that it renders itself."""

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cache_schema.disk import naming, require_folder
from ta2n.cli import options
from ta2n.cli.console import bars, duration, note, print_json, progress, stdout, table
from ta2n.cli.extract import report as report_extraction
from ta2n.cli.train import report as report_training

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROJECT = 64
WAY, SHOT = 5, 1
TEST_QUERIES = 1
# A small projection, so that two cores do it in a minute or two.
TRAINING: dict[str, Any] = {
    "way": WAY,
    "queries": 3,
    "project": PROJECT,
    "optimizer": "adam",
    "lr": 1e-3,
    "accumulate": 4,
    "episodes": 100,
}


def demo(
    out: Annotated[Path, typer.Option(help="Folder for clips, features and runs.", metavar="FOLDER")] = Path("demo"),
    episodes: Annotated[int, typer.Option(help="Test episodes.", min=2)] = 2000,
    epochs: Annotated[int, typer.Option(help="Epochs of 100 training episodes.", min=1)] = 2,
    clips: Annotated[int, typer.Option(help="Clips to render of each of the 20 classes.", min=6)] = 20,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Render clips, extract features, train TA2N, and compare it with ProtoNet on classes it never saw.

    The classes differ by motion only; every clip starts, lasts, speeds up and lies elsewhere. Run again to see the
    table without repeating the work.

    Example: ta2n demo --out ./demo
    """
    from ta2n.pipeline.commands.machine import torch_device

    start = time.monotonic()
    torch_device(device)
    require_folder(out, "--out")
    # What the commands would print as their results is on the way to this one's.
    with naming(out), contextlib.redirect_stdout(sys.stderr):
        prepare(out, clips=clips, device=device, seed=seed)
        runs = {method: _train(out, method, epochs=epochs, device=device, seed=seed) for method in ("protonet", "ta2n")}
    _report(out, runs, episodes, seed, device, as_json)
    note(f"the demo took {duration(time.monotonic() - start)}; clips, features and runs are in {out}")


def _say(command: str) -> None:
    note(f"\n$ {command}")


def prepare(out: Path, *, clips: int = 20, device: str = "auto", seed: int = 0) -> Path:
    """Renders the clips and extracts their features where that was not done; the store."""
    _render(out / "clips", clips, seed)
    _say(f"ta2n extract --dataset {out}/clips --cache {out}/feats --backbone efficientnet-lite0 --no-flip")
    from ta2n.pipeline.commands.extract import extract

    with bars() as show:
        summary = extract(
            out / "clips",
            out / "feats",
            backbone="efficientnet-lite0",
            flip=False,
            device=device,
            on_note=note,
            on_progress=show,
        )
    report_extraction(summary)
    return summary.store


def _render(folder: Path, clips: int, seed: int) -> None:
    from ta2n.pipeline.demo.render import render_demo_clips

    note(f"rendering labelled clips into {folder}")
    with progress("rendering", 20 * clips, "clips") as bar:
        render_demo_clips(folder, clips_per_class=clips, seed=seed, on_clip=lambda done, _: bar(done))


def _train(out: Path, method: str, *, epochs: int, device: str, seed: int) -> Path:
    """Trains a head; its run."""
    folder = out / "runs" / method
    flags = " ".join(f"--{name} {value}" for name, value in (TRAINING | {"epochs": epochs}).items())
    _say(f"ta2n train-head --cache {out}/feats --method {method} {flags} --out {folder}")
    from ta2n.pipeline.commands.train_head import plan_training, train_planned

    plan = plan_training(
        out / "feats",
        [method],
        [SHOT],
        out=folder,
        device=device,
        settings={**TRAINING, "epochs": epochs, "seed": seed},
        on_note=note,
    )
    with bars() as show:
        report_training(train_planned(plan, on_note=note, on_progress=show), plan)
    return folder


def _report(out: Path, runs: dict[str, Path], episodes: int, seed: int, device: str, as_json: bool) -> None:
    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.commands.contenders import from_checkpoint, from_method, measure
    from ta2n.pipeline.commands.machine import torch_device
    from ta2n.pipeline.episodes import Episodes
    from ta2n.pipeline.evaluation.metrics import estimate, paired_difference

    cache = FeatureCache.open(out / "feats")
    contenders = {
        "ProtoNet, untrained": from_method("protonet", cache, seed=seed),
        "TA2N, untrained": from_method("ta2n", cache, project=PROJECT, seed=seed),
        "ProtoNet, trained projection": from_checkpoint(runs["protonet"], cache),
        "TA2N, trained": from_checkpoint(runs["ta2n"], cache),
    }
    _say(f"ta2n evaluate --cache {out}/feats --checkpoint {runs['ta2n']} --test-episodes {episodes} --against protonet")
    drawn = Episodes(cache.labels("test"), way=WAY, shot=SHOT, queries=TEST_QUERIES, seed=seed, name="the test split")
    where = torch_device(device)
    with bars() as show:
        found = {
            name: measure(one, cache, drawn, episodes, device=where, on_progress=show).accuracies
            for name, one in contenders.items()
        }
    base = found["ProtoNet, trained projection"]
    if as_json:
        print_json({name: _as_dict(values, base) for name, values in found.items()})
        return
    rows = [
        [
            name,
            estimate(values).percent(),
            "" if values is base else paired_difference(values, base).percent(signed=True),
        ]
        for name, values in found.items()
    ]
    title = f"{WAY}-way {SHOT}-shot on 5 classes never trained on, {episodes} episodes (chance is 20 %)"
    stdout().print(table(title, ["method", "accuracy", "against trained ProtoNet"], rows))


def _as_dict(values: "NDArray[np.float64]", base: "NDArray[np.float64]") -> dict[str, Any]:
    from ta2n.pipeline.evaluation.metrics import estimate, paired_difference

    difference = {} if values is base else {"difference": vars(paired_difference(values, base))}
    return vars(estimate(values)) | difference
