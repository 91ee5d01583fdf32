"""``ta2n train-head``."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cache_schema.errors import InputError
from ta2n.cli import comparison, options
from ta2n.cli.console import duration, note, print_json, progress, stdout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.config.protocols import Protocol
    from ta2n.pipeline.training.loop import Result
    from ta2n.pipeline.training.settings import Progress, Settings


def train_head(
    cache: options.Cache = Path("feats"),
    method: Annotated[
        str,
        typer.Option(
            help="Name of the head: ta2n, protonet, ...; or several, separated by commas; or all.", metavar="NAMES"
        ),
    ] = "ta2n",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; made from its settings where not given.", metavar="FOLDER")
    ] = None,
    dataset: options.Dataset = None,
    way: Annotated[int | None, typer.Option(help="Classes N in an episode. [default: 5]", min=2)] = None,
    shot: Annotated[
        str | None,
        typer.Option(
            help="Support clips K of a class; or several numbers, separated by commas. [default: 1; 1,5 for several "
            "methods]",
            metavar="NUMBERS",
        ),
    ] = None,
    queries: Annotated[
        int | None, typer.Option(help="Query clips of a class. [default: the protocol's]", min=1)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most this many epochs. [default: 10]", min=1)] = None,
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
    optimizer: Annotated[
        str | None, typer.Option(help="sgd (the paper's) or adam. [default: the protocol's]", metavar="NAME")
    ] = None,
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
        int | None,
        typer.Option(
            help="Episodes on the val split after each epoch, to keep the best weights; 0 for none. [default: 200]",
            min=0,
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after this many epochs without a better val accuracy. [default: 10]", min=1)
    ] = None,
    test_episodes: Annotated[
        int | None, typer.Option(help="Test episodes of several methods. [default: the protocol's]", min=2)
    ] = None,
    cache_in: Annotated[
        str,
        typer.Option(
            help="Where the maps are while training: auto, disk, ram, or device (the card's memory).", metavar="PLACE"
        ),
    ] = "auto",
    protocol: options.ProtocolName = None,
    recipe: options.RecipeFile = None,
    split_file: options.SplitFile = None,
    device: options.Device = "auto",
    seed: options.SomeSeed = None,
    dry_run: Annotated[bool, typer.Option(help="Show the settings, and stop.")] = False,
    as_json: options.AsJson = False,
    as_csv: options.AsCsv = False,
) -> None:
    """Train a head on a feature store; run again to continue a stopped run.

    The best weights on the val split are kept, with everything needed to repeat the run. Several methods, or several
    numbers of shots, are trained one by one, tested on the same episodes, and set side by side with what they cost.

    Example: ta2n train-head --cache ./feats --method ta2n --shot 1 --epochs 5

    Example: ta2n train-head --cache ./feats --method protonet,otam,ta2n --shot 1,5
    """
    called, chosen, read = options.chosen(protocol, recipe)
    names = comparison.method_names(method)
    shots = comparison.shot_numbers(shot or ("1" if len(names) == 1 else "1,5"))
    opened = options.open_cache(cache, dataset, split_file)
    if option and len(names) > 1:
        raise InputError("--option belongs to one method; give it with one --method")
    flags = {
        "way": way,
        "queries": queries,
        "frames": frames,
        "epochs": epochs,
        "episodes": episodes,
        "accumulate": accumulate,
        "objective": objective,
        "optimizer": optimizer,
        "lr": lr,
        "dropout": dropout,
        "project": project,
        "val_episodes": val_episodes,
        "patience": patience,
        "seed": seed,
    }
    runs = [
        run_settings(opened, name, number, chosen, [flags, read.train], head_options=options.head_options(option or []))
        for number in shots
        for name in names
    ]
    way, seed = runs[0].way, runs[0].seed
    several = len(runs) > 1
    if dropout is not None and not any("dropout" in run.options for run in runs):
        note(f"note: {method} has no dropout; --dropout is not used")
    if as_csv and not several:
        raise InputError("--csv prints the table of several methods or shots; use --json for a single run")
    if as_csv and as_json:
        raise InputError("--json and --csv both print on stdout; give one of them")
    what = f"{way}way" if several else f"{method}-{way}way-{shots[0]}shot"
    folder = out or Path("runs") / f"{opened.manifest.dataset}-{what}-seed{seed}"
    note(f"{opened.path} -> {folder}, protocol {called}")
    for run in runs:
        note("  " + ", ".join(f"{name}={value}" for name, value in dataclasses.asdict(run).items()))
    if dry_run:
        return
    if several:
        count = test_episodes or read.test.get("episodes", chosen.test_episodes)
        asked = read.test.get("queries", chosen.test_queries)
        rows = comparison.run(opened, runs, folder, episodes=count, queries=asked, device=device)
        comparison.report({opened.manifest.dataset: rows}, way, as_json=as_json, as_csv=as_csv)
    else:
        _report(_run(opened, runs[0], folder, device, cache_in), opened, runs[0], as_json)


def run_settings(
    cache: "FeatureCache",
    method: str,
    shot: int,
    protocol: "Protocol",
    layers: "Sequence[Mapping[str, Any]]",
    *,
    head_options: dict[str, Any] | None = None,
) -> "Settings":
    """The settings of one run: the first layer that says something, else the protocol, else the usual.

    Args:
        cache: the store.
        method: name of the head.
        shot: K.
        protocol: says what no layer says.
        layers: values by the names of ``[train]`` in a recipe; None is nothing said.
        head_options: further options of the head.
    """
    from ta2n.pipeline.config.recipes import first_given
    from ta2n.pipeline.training.objectives import usual_objective
    from ta2n.pipeline.training.settings import Settings

    usual = {
        "way": 5,
        "queries": protocol.train_queries,
        "frames": options.default_frames(cache),
        "epochs": 10,
        "episodes": protocol.episodes_per_epoch,
        "accumulate": protocol.accumulate,
        "objective": usual_objective(method),
        "optimizer": protocol.optimizer,
        "lr": protocol.learning_rate,
        "dropout": protocol.dropout,
        "val_episodes": 200,
        "patience": 10,
        "seed": 0,
    }
    values = first_given(*layers, usual)
    head = {"dropout": values.pop("dropout")} if "dropout" in options.accepted(method) else {}
    values.pop("dropout", None)
    if "project" in values:
        head["project"] = values.pop("project")
    renamed = {"episodes": "episodes_per_epoch", "lr": "learning_rate"}
    settings = {renamed.get(name, name): value for name, value in values.items()}
    return Settings(method=method, shot=shot, options=head | (head_options or {}), **settings)


def _run(cache: "FeatureCache", settings: "Settings", folder: Path, device: str, place: str) -> "Result":
    from ta2n.pipeline.training.loop import train_head as train

    with progress("training", settings.epochs * settings.episodes_per_epoch, "episodes") as bar:

        def episode(state: "Progress") -> None:
            bar(state.episode, f"loss {state.loss:.3f}, accuracy {100 * state.accuracy:.1f} %")

        def epoch(state: "Progress") -> None:
            number = state.episode // settings.episodes_per_epoch
            if settings.val_episodes:
                note(f"epoch {number}: val {100 * state.val[-1]:.2f} %, best {100 * state.best_val:.2f} %")

        where = options.torch_device(device)
        return train(cache, settings, folder, device=where, place=place, on_episode=episode, on_epoch=epoch)


def _report(result: "Result", cache: "FeatureCache", settings: "Settings", as_json: bool) -> None:
    state = result.progress
    values: dict[str, Any] = {
        "run": str(result.folder),
        "method": settings.method,
        "episodes": state.episode,
        "best_epoch": state.best_epoch,
        "val_accuracy": state.best_val if settings.val_episodes else None,
        "stopped_early": result.stopped_early,
        "seconds": {name: round(value, 3) for name, value in result.seconds.items()},
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
    if result.seconds:
        console.print(_times(result.seconds), markup=False)
    where = f" --dataset {cache.manifest.dataset}" if len(list(cache.path.parent.glob("*.zarr"))) > 1 else ""
    console.print(
        f"{result.folder}: to test it, ta2n evaluate --cache {cache.path.parent}{where} --checkpoint {result.folder}",
        markup=False,
    )


def _times(seconds: "Mapping[str, float]") -> str:
    total = sum(seconds.values())
    shares = ", ".join(f"{name} {100 * value / total:.1f} %" for name, value in seconds.items())
    return f"{duration(total)} of training: {shares}"
