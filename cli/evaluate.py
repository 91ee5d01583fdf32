"""``ta2n evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ta2n.cli import options
from ta2n.cli.console import bars, duration, note, print_json, say, stdout, table
from ta2n.cli.flags import Given, flags, literal
from ta2n.pipeline.config.testing import EvaluateSettings

if TYPE_CHECKING:
    from ta2n.pipeline.commands.evaluate import Evaluation


@flags(EvaluateSettings)
def evaluate(
    *,
    cache: options.Cache = Path("feats"),
    checkpoint: Annotated[
        Path | None, typer.Option(help="A run of train-head, or a checkpoint file.", metavar="PATH")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="A method as it is before training, instead of a checkpoint.", metavar="NAME")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="A second checkpoint or method, compared episode by episode.", metavar="PATH|NAME"),
    ] = None,
    dataset: options.Dataset = None,
    split: Annotated[str, typer.Option(help="train, val or test.", metavar="NAME")] = "test",
    given: Given,
    project: Annotated[
        int | None,
        typer.Option(
            help="Put a random 1×1 projection to this many channels before the method; 0 for none.", min=0, max=65_536
        ),
    ] = None,
    option: options.HeadOptions = None,
    protocol: options.ProtocolName = None,
    recipe: options.RecipeFile = None,
    split_file: options.SplitFile = None,
    memory: Annotated[
        float | None,
        typer.Option(help=literal("GB for what is computed once per video. [default: half of what is free]"), min=0),
    ] = None,
    episodes_file: Annotated[
        Path | None,
        typer.Option(
            help="A list of episodes: used where it is there, else written with those of this call. .gz is packed.",
            metavar="FILE",
        ),
    ] = None,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Measure accuracy with its 95 % interval; the same seed gives every method the same episodes.

    Example: ta2n evaluate --cache ./feats --checkpoint runs/clips-ta2n-5way-1shot-seed0 --against protonet
    """
    from ta2n.pipeline.commands.evaluate import evaluate as run

    with bars() as show:
        found = run(
            cache,
            checkpoint=checkpoint,
            method=method,
            against=against,
            dataset=dataset,
            split=split,
            options=options.head_options(option or []),
            project=project,
            protocol=protocol,
            recipe=recipe,
            split_file=split_file,
            memory=memory,
            episodes_file=episodes_file,
            device=device,
            on_note=note,
            on_progress=show,
            **given,
        )
    if as_json:
        _print_json(found)
    else:
        _print(found)


def _print_json(found: "Evaluation") -> None:
    difference, shape = found.difference, found.settings
    print_json(
        {
            "way": shape.way,
            "shot": shape.shot,
            "queries": shape.queries,
            "episodes": shape.episodes,
            "seed": shape.seed,
            "split": found.split,
            "protocol": found.protocol,
            "results": [
                {
                    "method": one.name,
                    "accuracy": one.accuracy.mean,
                    "interval": one.accuracy.interval,
                    "seconds": round(one.seconds, 3),
                }
                for one in found.scores
            ],
            "paired_difference": {"mean": difference.mean, "interval": difference.interval} if difference else None,
        }
    )


def _print(found: "Evaluation") -> None:
    shape, difference = found.settings, found.difference
    title = (
        f"{found.dataset}, {found.split} ({found.videos} clips): {shape.way}-way {shape.shot}-shot, "
        f"{shape.episodes} episodes of {shape.queries} queries a class, seed {shape.seed}"
    )
    rows = [[one.name, one.accuracy.percent(), duration(one.seconds)] for one in found.scores]
    stdout().print(table(title, ["method", "accuracy", "time"], rows))
    if difference:
        say(f"paired difference, first - second: {difference.percent(signed=True)}")
