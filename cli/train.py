"""``ta2n train-head``."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cli import options
from ta2n.cli.console import note, print_json, progress, stdout

if TYPE_CHECKING:
    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.settings import Progress, Settings
    from ta2n.pipeline.train import Result


def train_head(
    cache: options.Cache = Path("feats"),
    method: options.Method = "ta2n",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; made from its settings where not given.", metavar="FOLDER")
    ] = None,
    dataset: options.Dataset = None,
    way: Annotated[int, typer.Option(help="Classes N in an episode.", min=2)] = 5,
    shot: Annotated[int, typer.Option(help="Support clips K of a class.", min=1)] = 1,
    queries: Annotated[
        int | None, typer.Option(help="Query clips of a class. [default: the protocol's]", min=1)
    ] = None,
    epochs: Annotated[int, typer.Option(help="At most this many epochs.", min=1)] = 10,
    episodes: Annotated[
        int | None, typer.Option(help="Training episodes in an epoch. [default: the protocol's]", min=1)
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Episodes to an optimiser step. [default: the protocol's]", min=1)
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="episodic, or base: a classifier over the base classes. [default: the method's]", metavar="NAME"
        ),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="sgd (the paper's) or adam.", metavar="NAME")] = "sgd",
    lr: Annotated[float | None, typer.Option(help="Learning rate. [default: the protocol's]")] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Dropout on the cached maps. [default: the protocol's]", min=0, max=0.99)
    ] = None,
    project: options.Project = None,
    option: options.HeadOptions = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames T of the head. [default: 8, or as many as are cached]", min=1)
    ] = None,
    val_episodes: Annotated[
        int,
        typer.Option(help="Episodes on the val split after each epoch, to keep the best weights; 0 for none.", min=0),
    ] = 200,
    patience: Annotated[
        int, typer.Option(help="Stop after this many epochs without a better val accuracy.", min=1)
    ] = 10,
    protocol: options.ProtocolName = "ta2n-paper",
    split_file: options.SplitFile = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    dry_run: Annotated[bool, typer.Option(help="Show the settings, and stop.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Train a head on a feature store; run again to continue a stopped run.

    The best weights on the val split are kept, with everything needed to repeat the run.

    Example: ta2n train-head --cache ./feats --method ta2n --shot 1 --epochs 5
    """
    chosen = options.protocol(protocol)
    opened = options.open_cache(cache, dataset, split_file)
    head = options.head_arguments(method, option, project)
    if "dropout" in options.accepted(method):
        head = {"dropout": chosen.dropout if dropout is None else dropout} | head
    elif dropout is not None:
        note(f"note: {method} has no dropout; --dropout is not used")
    from ta2n.pipeline.objectives import usual_objective
    from ta2n.pipeline.settings import Settings

    settings = Settings(
        method=method,
        objective=objective or usual_objective(method),
        options=head,
        way=way,
        shot=shot,
        queries=queries or chosen.train_queries,
        frames=frames or options.default_frames(opened),
        epochs=epochs,
        episodes_per_epoch=episodes or chosen.episodes_per_epoch,
        accumulate=accumulate or chosen.accumulate,
        optimizer=optimizer,
        learning_rate=lr or chosen.learning_rate,
        val_episodes=val_episodes,
        patience=patience,
        seed=seed,
    )
    folder = out or Path("runs") / f"{opened.manifest.dataset}-{method}-{way}way-{shot}shot-seed{seed}"
    values = ", ".join(f"{name}={value}" for name, value in dataclasses.asdict(settings).items())
    note(f"{opened.path} -> {folder}\n  protocol {protocol}: {values}")
    if dry_run:
        return
    _report(_run(opened, settings, folder, device), opened, settings, as_json)


def _run(cache: "FeatureCache", settings: "Settings", folder: Path, device: str) -> "Result":
    from ta2n.pipeline.train import train_head as train

    with progress("training", settings.epochs * settings.episodes_per_epoch, "episodes") as bar:

        def episode(state: "Progress") -> None:
            bar(state.episode, f"loss {state.loss:.3f}, accuracy {100 * state.accuracy:.1f} %")

        def epoch(state: "Progress") -> None:
            number = state.episode // settings.episodes_per_epoch
            if settings.val_episodes:
                note(f"epoch {number}: val {100 * state.val[-1]:.2f} %, best {100 * state.best_val:.2f} %")

        return train(cache, settings, folder, device=options.torch_device(device), on_episode=episode, on_epoch=epoch)


def _report(result: "Result", cache: "FeatureCache", settings: "Settings", as_json: bool) -> None:
    state = result.progress
    values: dict[str, Any] = {
        "run": str(result.folder),
        "method": settings.method,
        "episodes": state.episode,
        "best_epoch": state.best_epoch,
        "val_accuracy": state.best_val if settings.val_episodes else None,
        "stopped_early": result.stopped_early,
    }
    if as_json:
        print_json(values)
        return
    console = stdout()
    if not state.episode:
        console.print(f"{settings.method} has nothing to train; its checkpoint is the method itself", markup=False)
    elif settings.val_episodes:
        when = f"epoch {state.best_epoch}" if state.best_epoch else "before the first step"
        early = f"; stopped after {settings.patience} epochs without a better one" if result.stopped_early else ""
        console.print(f"best val accuracy {100 * state.best_val:.2f} % ({when}){early}", markup=False)
    where = f" --dataset {cache.manifest.dataset}" if len(list(cache.path.parent.glob("*.zarr"))) > 1 else ""
    console.print(
        f"{result.folder}: to test it, ta2n evaluate --cache {cache.path.parent}{where} --checkpoint {result.folder}",
        markup=False,
    )
