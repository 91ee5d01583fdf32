"""``ta2n train-head``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cli import comparison, options
from ta2n.cli.console import bars, duration, note, print_json, stdout
from ta2n.cli.flags import Given, flags, literal
from ta2n.pipeline.commands.tables import TRAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ta2n.pipeline.commands.train_head import TrainPlan
    from ta2n.pipeline.training.loop import Result


@flags(*TRAIN, without=("shot",))
def train_head(
    *,
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
    shot: Annotated[
        str | None,
        typer.Option(
            help=literal(
                "Support clips K of a class; or several numbers, separated by commas. [default: 1; 1,5 for several "
                "methods]"
            ),
            metavar="NUMBERS",
        ),
    ] = None,
    given: Given,
    option: options.HeadOptions = None,
    test_episodes: Annotated[
        int | None, typer.Option(help=literal("Test episodes of several methods. [default: the protocol's]"), min=2)
    ] = None,
    cache_in: Annotated[
        str,
        typer.Option(
            help="Where the maps are while training: auto, disk, ram, or device (the GPU's memory).", metavar="PLACE"
        ),
    ] = "auto",
    protocol: options.ProtocolName = None,
    recipe: options.RecipeFile = None,
    split_file: options.SplitFile = None,
    scratch: options.Scratch = None,
    check: options.Check = True,
    wait: options.Wait = False,
    device: options.Device = "auto",
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
    from ta2n.pipeline.commands.train_head import described, plan_training, train_planned

    names = comparison.method_names(method)
    shots = comparison.shot_numbers(("1" if len(names) == 1 else "1,5") if shot is None else shot)
    several = len(names) * len(shots) > 1
    options.refuse(
        (bool(option) and len(names) > 1, "--option belongs to one method; give it with one --method"),
        (as_csv and not several, "--csv prints the table of several methods or shots; use --json for a single run"),
        (as_csv and as_json, "--json and --csv both print on stdout; give one of them"),
        (dry_run and (as_json or as_csv), "--dry-run has no result that --json or --csv could print; leave one out"),
        (several and cache_in != "auto", "--cache-in is for one method and one number of shots; leave it out"),
        (
            test_episodes is not None and not several,
            "--test-episodes is for several methods or shots, which are tested too; `ta2n evaluate` tests one run",
        ),
    )
    plan = plan_training(
        cache,
        names,
        shots,
        out=out,
        dataset=dataset,
        options=options.head_options(option or []),
        test_episodes=test_episodes,
        protocol=protocol,
        recipe=recipe,
        split_file=split_file,
        scratch=scratch,
        check=check,
        device=device,
        settings=given,
        on_note=note,
    )
    note(f"{plan.cache.path} -> {plan.folder}, protocol {plan.protocol}")
    for run in plan.runs:
        note("  " + described(run))
    if dry_run:
        return
    if several:
        from ta2n.pipeline.commands.compare import compare_planned

        rows = compare_planned(plan, on_note=note)
        comparison.report({plan.cache.manifest.dataset: rows}, plan.runs[0].way, as_json=as_json, as_csv=as_csv)
        return
    with bars() as show:
        result = train_planned(plan, cache_in=cache_in, on_note=note, on_progress=show)
    report(result, plan, as_json=as_json)


def report(result: "Result", plan: "TrainPlan", *, as_json: bool = False) -> None:
    """Prints how a run ended."""
    settings, state = plan.runs[0], result.progress
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
        console.print(times(result.seconds), markup=False)
    path = plan.cache.path
    where = f" --dataset {plan.cache.manifest.dataset}" if len(list(path.parent.glob("*.zarr"))) > 1 else ""
    console.print(
        f"{result.folder}: to test it, ta2n evaluate --cache {path.parent}{where} --checkpoint {result.folder}",
        markup=False,
    )


def times(seconds: "Mapping[str, float]") -> str:
    """Where the time of a run went, in one line."""
    total = sum(seconds.values())
    shares = ", ".join(f"{name} {100 * value / total:.1f} %" for name, value in seconds.items())
    return f"{duration(total)} of training: {shares}"
