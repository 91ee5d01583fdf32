"""``ta2n table``: every method on every store at hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cache_schema.errors import MissingError
from ta2n.cli import options
from ta2n.cli.console import note, print_json, stdout, table

if TYPE_CHECKING:
    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.compare import Row
    from ta2n.pipeline.settings import Settings


def make_table(
    cache: options.Cache = Path("feats"),
    methods: Annotated[str, typer.Option(help="Methods, separated by commas, or all.", metavar="NAMES")] = "all",
    shots: Annotated[str, typer.Option(help="Numbers of shots K, separated by commas.", metavar="NUMBERS")] = "1,5",
    out: Annotated[Path, typer.Option(help="Folder of the runs.", metavar="FOLDER")] = Path("runs/table"),
    way: Annotated[int, typer.Option(help="Classes N in an episode.", min=2)] = 5,
    queries: Annotated[
        int | None, typer.Option(help="Training queries of a class. [default: the protocol's]", min=1)
    ] = None,
    epochs: Annotated[int, typer.Option(help="At most this many epochs.", min=1)] = 10,
    episodes: Annotated[
        int | None, typer.Option(help="Training episodes in an epoch. [default: the protocol's]")
    ] = None,
    accumulate: Annotated[int | None, typer.Option(help="Episodes to a step. [default: the protocol's]")] = None,
    optimizer: Annotated[str, typer.Option(help="sgd (the paper's) or adam.", metavar="NAME")] = "sgd",
    lr: Annotated[float | None, typer.Option(help="Learning rate. [default: the protocol's]")] = None,
    project: options.Project = None,
    test_episodes: Annotated[int | None, typer.Option(help="Test episodes. [default: the protocol's]", min=2)] = None,
    protocol: options.ProtocolName = "ta2n-paper",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    dry_run: Annotated[bool, typer.Option(help="Show what would be run, and stop.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Train and test every method on every store of a folder, on the same episodes; run again to continue.

    Example: ta2n table --cache ./feats --methods protonet,ta2n --shots 1,5
    """
    stores = _stores(cache)
    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.heads import HEADS

    chosen = options.protocol(protocol)
    names = list(HEADS) if methods == "all" else [name.strip() for name in methods.split(",")]
    # ProtoNet first: the others are set against it.
    names.sort(key=lambda name: name != "protonet")
    common: dict[str, Any] = {
        "way": way,
        "queries": queries or chosen.train_queries,
        "epochs": epochs,
        "episodes_per_epoch": episodes or chosen.episodes_per_epoch,
        "accumulate": accumulate or chosen.accumulate,
        "optimizer": optimizer,
        "learning_rate": lr or chosen.learning_rate,
        "seed": seed,
    }
    wanted = [options.whole(text, "--shots") for text in shots.split(",")]
    values: dict[str, list[Row]] = {}
    for store in stores:
        opened = FeatureCache.open(store)
        runs = [_settings(opened, name, shot, project, common) for shot in wanted for name in names]
        if dry_run:
            note("\n".join(f"{store}: {run.method}, {run.shot} shots, at most {run.epochs} epochs" for run in runs))
            continue
        values[opened.manifest.dataset] = _compare(
            opened, runs, out, count=test_episodes or chosen.test_episodes, queries=chosen.test_queries, device=device
        )
    if as_json:
        print_json({dataset: [_as_dict(row) for row in rows] for dataset, rows in values.items()})
        return
    for dataset, rows in values.items():
        stdout().print(_as_table(dataset, rows, way))


def _stores(cache: Path) -> list[Path]:
    if (cache / "zarr.json").is_file():
        return [cache]
    stores = sorted(cache.glob("*.zarr"))
    if not stores:
        raise MissingError(
            f"{cache}: no feature store there, so there is no table to make; first "
            f"`ta2n extract --dataset FOLDER --cache {cache}`, or `ta2n demo` and `ta2n table --cache demo/feats`"
        )
    return stores


def _settings(cache: "FeatureCache", method: str, shot: int, project: int | None, common: dict[str, Any]) -> "Settings":
    from ta2n.pipeline.objectives import usual_objective
    from ta2n.pipeline.settings import Settings

    return Settings(
        method=method,
        objective=usual_objective(method),
        options=options.head_arguments(method, None, project),
        shot=shot,
        frames=options.default_frames(cache),
        **common,
    )


def _compare(
    cache: "FeatureCache", runs: list["Settings"], out: Path, *, count: int, queries: int, device: str
) -> list["Row"]:
    from ta2n.pipeline.compare import compare

    return compare(
        cache,
        runs,
        out / cache.manifest.dataset,
        episodes=count,
        queries=queries,
        seed=runs[0].seed,
        device=options.torch_device(device),
        on_run=lambda run: note(f"{cache.manifest.dataset}: {run.method}, {run.shot} shots"),
    )


def _as_table(dataset: str, rows: list["Row"], way: int) -> Any:
    count = rows[0].accuracy.episodes
    return table(
        f"{dataset}: {way}-way, {count} test episodes, heads on frozen features",
        ["method", "shots", "accuracy", "against protonet", "parameters", "best epoch"],
        [
            [
                row.method,
                str(row.shot),
                row.accuracy.percent(),
                row.difference.percent(signed=True) if row.difference else "",
                f"{row.parameters:,}",
                str(row.best_epoch),
            ]
            for row in rows
        ],
    )


def _as_dict(row: "Row") -> dict[str, Any]:
    difference = row.difference
    return {
        "method": row.method,
        "shot": row.shot,
        "accuracy": row.accuracy.mean,
        "interval": row.accuracy.interval,
        "episodes": row.accuracy.episodes,
        "against_protonet": difference.mean if difference else None,
        "against_protonet_interval": difference.interval if difference else None,
        "parameters": row.parameters,
        "best_epoch": row.best_epoch,
    }
