"""The command ``ta2n`` and its subcommands. Commands import what is heavy when they run."""

import logging
import os
import sys
from typing import Annotated

import typer

import ta2n
from ta2n.cli import cache, cache_files, dataset, demo, evaluate, extract, finetune, table, train
from ta2n.cli.errors import DEBUG, guarded
from ta2n.cli.usage import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Few-shot action recognition from cached features: extract once, train and compare heads in minutes.\n\n"
    "Every command takes --debug, which shows a traceback where an error would be one line.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"ta2n {ta2n.__version__}\n")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command("extract")(guarded(extract.extract))
app.command("train-head")(guarded(train.train_head))
app.command("finetune")(guarded(finetune.finetune))
app.command("evaluate")(guarded(evaluate.evaluate))
cache.app.command("export")(guarded(cache_files.export))
cache.app.command("import")(guarded(cache_files.import_file))
app.add_typer(cache.app, name="cache")
app.add_typer(dataset.app, name="dataset")
app.command("table")(guarded(table.make_table))
app.command("demo")(guarded(demo.demo))


def main() -> None:
    """Runs the command line; ``--debug`` may stand anywhere on it."""
    arguments = sys.argv[1:]
    if "--debug" in arguments:
        os.environ[DEBUG] = "1"
        logging.basicConfig()
        logging.getLogger("ta2n").setLevel(logging.DEBUG)
    app([argument for argument in arguments if argument != "--debug"])
