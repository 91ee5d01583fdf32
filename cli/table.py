"""``ta2n table``: every method on every store at hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cache_schema.errors import MissingError
from ta2n.cli import comparison, options
from ta2n.cli.console import note

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
    as_csv: options.AsCsv = False,
) -> None:
    """Train and test every method on every store of a folder, on the same episodes; run again to continue.

    Example: ta2n table --cache ./feats --methods protonet,ta2n --shots 1,5
    """
    stores = _stores(cache)
    from ta2n.pipeline.cache import FeatureCache

    chosen = options.protocol(protocol)
    names = comparison.method_names(methods)
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
    wanted = comparison.shot_numbers(shots)
    values: dict[str, list[Row]] = {}
    for store in stores:
        opened = FeatureCache.open(store)
        runs = [_settings(opened, name, shot, project, common) for shot in wanted for name in names]
        if dry_run:
            note("\n".join(f"{store}: {run.method}, {run.shot} shots, at most {run.epochs} epochs" for run in runs))
            continue
        count = test_episodes or chosen.test_episodes
        folder = out / opened.manifest.dataset
        values[opened.manifest.dataset] = comparison.run(
            opened, runs, folder, episodes=count, queries=chosen.test_queries, device=device
        )
    if not dry_run:
        comparison.report(values, way, as_json=as_json, as_csv=as_csv)


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
