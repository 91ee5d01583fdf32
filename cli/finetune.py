"""``ta2n finetune``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cli import options
from ta2n.cli.console import bars, note, print_json, stdout
from ta2n.cli.flags import Given, flags, literal
from ta2n.cli.train import times
from ta2n.pipeline.commands.tables import FINETUNE

if TYPE_CHECKING:
    from ta2n.pipeline.commands.tuning import FineTunePlan
    from ta2n.pipeline.training.loop import Result


@flags(*FINETUNE)
def finetune(
    *,
    cache: options.Cache = Path("feats"),
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A run of train-head on this store, to start from.", metavar="RUN"),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Start from this head, untrained: ta2n, protonet, ...", metavar="NAME")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; made from its settings where not given.", metavar="FOLDER")
    ] = None,
    dataset: options.Dataset = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help=literal("Folder of the clips. [default: the one that the store was extracted from]"), metavar="FOLDER"
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help=literal("The backbone's weights: a file, or a fine-tuned run. [default: found by the store's name]"),
            metavar="FILE",
        ),
    ] = None,
    given: Given,
    option: options.HeadOptions = None,
    protocol: options.ProtocolName = None,
    split_file: options.SplitFile = None,
    scratch: options.Scratch = None,
    check: options.Check = True,
    wait: options.Wait = False,
    device: options.Device = "auto",
    dry_run: Annotated[bool, typer.Option(help="Show the settings, and stop.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Train backbone and head together on frames; run again to continue a stopped run.

    Starts from a head that was trained on the store. The gradients of an episode are exact, in the memory of one clip.
    The best weights on the val split are kept.

    Example: ta2n finetune --cache ./feats --checkpoint runs/ta2n --trainable layer4
    """
    from ta2n.pipeline.commands.finetune import finetune_planned
    from ta2n.pipeline.commands.train_head import described
    from ta2n.pipeline.commands.tuning import plan_finetuning

    options.refuse((dry_run and as_json, "--dry-run has no result that --json could print; leave one out"))
    plan = plan_finetuning(
        cache,
        checkpoint=checkpoint,
        method=method,
        out=out,
        dataset=dataset,
        root=root,
        weights=weights,
        options=options.head_options(option or []),
        protocol=protocol,
        split_file=split_file,
        scratch=scratch,
        check=check,
        device=device,
        settings=given,
        on_note=note,
    )
    note(f"{plan.cache.path} and {plan.root} -> {plan.folder}, protocol {plan.protocol}")
    note("  " + described(plan.settings))
    if dry_run:
        return
    with bars() as show:
        result = finetune_planned(plan, on_note=note, on_progress=show)
    report(result, plan, as_json=as_json)


def report(result: "Result", plan: "FineTunePlan", *, as_json: bool = False) -> None:
    """Prints how a run ended."""
    settings, state = plan.settings, result.progress
    total = sum(result.seconds.values())
    values: dict[str, Any] = {
        "run": str(result.folder),
        "method": settings.method,
        "trainable": settings.trainable,
        "episodes": state.episode,
        "best_epoch": state.best_epoch,
        "val_accuracy": state.best_val if settings.val_episodes else None,
        "val_accuracy_before": state.val[0] if settings.val_episodes else None,
        "stopped_early": result.stopped_early,
        "seconds": {name: round(value, 3) for name, value in result.seconds.items()},
        "waiting": round(result.seconds.get("wait", 0.0) / total, 4) if total else None,
    }
    if as_json:
        print_json(values)
        return
    console = stdout()
    if settings.val_episodes:
        when = f"epoch {state.best_epoch}" if state.best_epoch else "before the first step"
        early = f"; stopped after {settings.patience} epochs without a better one" if result.stopped_early else ""
        before = f", from {100 * state.val[0]:.2f} % before"
        console.print(f"best val accuracy {100 * state.best_val:.2f} % ({when}){before}{early}", markup=False)
    if result.seconds:
        console.print(times(result.seconds), markup=False)
    console.print(f"{result.folder}: to use it, ta2n extract --checkpoint {result.folder}", markup=False)
