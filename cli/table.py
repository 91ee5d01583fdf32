"""``ta2n table``: the paper's table, ours beside the published, from the stores at hand."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cli import comparison, options, sources
from ta2n.cli.console import duration, note, print_json, size, stdout, table
from ta2n.cli.flags import Given, flags, literal
from ta2n.pipeline.commands.tables import TRAIN
from ta2n.pipeline.training.settings import Settings

if TYPE_CHECKING:
    import torch

    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.config.protocols import Protocol
    from ta2n.pipeline.datasets.sources import Sources
    from ta2n.pipeline.report.table.entries import TableEntry
    from ta2n.pipeline.report.table.fill import TablePlan
    from ta2n.pipeline.report.table.rows import TableRow

TITLE = "Few-shot action recognition on cached features"
DEMO_TITLE = "Rendered demo clips, NOT the paper's data: few-shot action recognition on cached features"
# What two cores do in about an hour.
DEMO_TEST_EPISODES = 2000
DEMO_SETTINGS: dict[str, Any] = {
    "queries": 3,
    "epochs": 2,
    "episodes": 100,
    "accumulate": 4,
    "optimizer": "adam",
    "lr": 1e-3,
    "project": 64,
}
# Of one clip with ResNet-50: 2048×8×7×7 float16.
MAP_BYTES = 2048 * 8 * 7 * 7 * 2


# What rows of the table may be trained with; the rest is for their recipes.
_FIELDS = ("way", "queries", "epochs", "episodes_per_epoch", "accumulate", "optimizer", "learning_rate", "project")


@flags(*TRAIN, only=_FIELDS)
def make_table(
    *,
    cache: options.Cache = Path("feats"),
    only: Annotated[
        str, typer.Option(help="Data sets and methods to leave it at, separated by commas.", metavar="NAMES")
    ] = "",
    shot: Annotated[
        str | None,
        typer.Option(help=literal("Numbers of shots K, separated by commas. [default: 1,5]"), metavar="NUMBERS"),
    ] = None,
    shots: Annotated[str | None, typer.Option(hidden=True)] = None,
    root: options.Root = None,
    splits: options.Splits = None,
    seed: Annotated[
        str | None,
        typer.Option(help=literal("Seeds of training, separated by commas. [default: 0]"), metavar="NUMBERS"),
    ] = None,
    seeds: Annotated[str | None, typer.Option(hidden=True)] = None,
    recipes: Annotated[
        Path | None, typer.Option(help="Folder of the rows, one TOML file each. \\[default: ta2n's]", metavar="FOLDER")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs and the table.", metavar="FOLDER")] = Path("runs/table"),
    tuned: Annotated[
        Path,
        typer.Option(
            "--finetuned", help="Folder of runs of finetune, and of their features' stores.", metavar="FOLDER"
        ),
    ] = Path("runs"),
    given: Given,
    test_episodes: Annotated[int | None, typer.Option(help="Test episodes. \\[default: the protocol's]", min=2)] = None,
    protocol: options.ProtocolName = None,
    scratch: options.Scratch = None,
    check: options.Check = True,
    wait: options.Wait = False,
    device: options.Device = "auto",
    dry_run: Annotated[bool, typer.Option(help="Show what would be run, with time and disk, and stop.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Train and test every method on every data set at hand, and set the results beside the published ones.

    Run again to continue. Writes table.md, table.csv, table.tex and table.html. Without any data set the table is made
    on clips that ta2n renders, and says so.

    Example: ta2n table --cache ./feats --only ucf101,protonet,ta2n --shot 1,5
    """
    from ta2n.cache_schema.disk import naming, require_folder
    from ta2n.cache_schema.lock import writing
    from ta2n.pipeline.commands.machine import torch_device
    from ta2n.pipeline.commands.tables import chosen as choose
    from ta2n.pipeline.config.resolve import given_fields
    from ta2n.pipeline.datasets.sources import find_sources
    from ta2n.pipeline.evaluation.scratch import Scratch, scratch_folder
    from ta2n.pipeline.report.table.entries import as_record
    from ta2n.pipeline.report.table.episodes import TestEpisodes
    from ta2n.pipeline.report.table.files import write_table
    from ta2n.pipeline.report.table.fill import TablePlan, without_store
    from ta2n.pipeline.report.table.rows import read_rows

    asked = choose(protocol)
    called, chosen = asked.name, asked.protocol
    for line in asked.notes:
        note(line)
    where, told = torch_device(device), list[str]()
    given = {"way": Settings.way} | given
    way = given["way"]
    options.refuse((dry_run and as_json, "--dry-run has no result that --json could print; leave one of them out"))
    shot = options.now_called("--shot", shot, "--shots", shots)
    seed = options.now_called("--seed", seed, "--seeds", seeds)
    given_fields(TRAIN, given)
    require_folder(out, "--out")
    wanted, datasets = _chosen(read_rows(recipes or _own_recipes()), only)
    at_hand = find_sources(cache, datasets, root, splits)
    demo = not at_hand.stores and not at_hand.found
    settings = given
    if demo:
        settings = DEMO_SETTINGS | settings
        test_episodes = test_episodes or DEMO_TEST_EPISODES
    plan = TablePlan(
        rows=wanted,
        shots=comparison.shot_numbers("1,5" if shot is None else shot),
        seeds=options.numbers("0" if seed is None else seed, "--seed", low=0),
        settings=_settings_of(chosen, settings, where, told),
        test=TestEpisodes(episodes=test_episodes or chosen.test_episodes, queries=chosen.test_queries),
        runs=out,
        tuned=tuned,
        device=where,
        scratch=Scratch(scratch_folder(scratch, beside=out), note),
        check=check,
    )
    if demo:
        note(f"no features in {cache}, and no data set on disk.\n{sources.how_to_get_them(cache)}")
    if dry_run:
        _plan(at_hand, plan, demo)
        return
    with writing(out, "ta2n table"), naming(out):
        if demo:
            at_hand.stores["clips"] = sources.demo_store(device)
        sources.extract_found(at_hand, cache, root, splits, device)
        entries = [entry for name, store in at_hand.stores.items() for entry in _fill(name, store, plan)]
        for name, reason in at_hand.missing.items():
            entries += without_store(name, plan, reason)
        notes = _notes(plan, called, settings) + [line.removeprefix("note: ") for line in told]
        files = write_table(entries, out, title=DEMO_TITLE if demo else TITLE, way=way, notes=notes)
    if as_json:
        print_json({"files": files, "results": [as_record(entry, entries) for entry in entries]})
    else:
        _print(entries, way)
    note(f"the table is in {', '.join(map(str, files))}")


def _own_recipes() -> Path:
    import ta2n.recipes

    return Path(str(ta2n.recipes.__file__)).parent


def _chosen(rows: list["TableRow"], only: str) -> tuple[list["TableRow"], list[str]]:
    """The rows that are asked for, and the data sets; all rows where none is named."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    methods = [name for name in names if name in {row.method for row in rows}]
    wanted = [row for row in rows if not methods or row.method in methods]
    return wanted, [name for name in names if name not in methods]


def _settings_of(
    protocol: "Protocol", given: dict[str, Any], device: "torch.device", told: list[str]
) -> Callable[["FeatureCache", "TableRow", int, int], Settings]:
    """What a run is trained with: a flag, else its recipe, else the protocol, else what suits the device.

    Lines worth knowing are said once, and added to ``told``.
    """
    from ta2n.pipeline.commands.settings import run_settings

    def settings(cache: "FeatureCache", row: "TableRow", shot: int, seed: int) -> Settings:
        said = given | {"shot": shot, "seed": seed}
        found, notes = run_settings(cache, row.method, protocol, said, row.train, device=device)
        for line in notes:
            if line not in told:
                told.append(line)
                note(line)
        return found

    return settings


def _fill(dataset: str, store: Path, plan: "TablePlan") -> list["TableEntry"]:
    from ta2n.pipeline.report.table.fill import fill_from

    total = len(plan.rows) * len(plan.shots) * len(plan.seeds)
    started = 0

    def show(row: "TableRow", shot: int, seed: int) -> None:
        nonlocal started
        started += 1
        note(f"{dataset}: {row.title}, {shot}-shot, seed {seed} ({started} of {total})")

    return fill_from(dataset, store, plan, on_run=show, on_note=note)


def _plan(at_hand: "Sources", plan: "TablePlan", demo: bool) -> None:
    """Prints what would be done, with time and disk."""
    from ta2n.pipeline.cache import FeatureCache
    from ta2n.pipeline.report.table.forecast import forecast_run, product_rate

    rate = product_rate(plan.device)
    lines = []
    for name, store in at_hand.stores.items():
        cache = FeatureCache.open(store)
        found = [
            forecast_run(cache, plan.settings(cache, row, shot, seed), plan.test, rate=rate)
            for shot in plan.shots
            for row in plan.rows
            for seed in plan.seeds
        ]
        seconds, space = sum(one.seconds for one in found), sum(one.bytes for one in found)
        lines.append([name, str(len(found)), duration(seconds), size(space), "there"])
    for name, videos in at_hand.found.items():
        lines.append([name, "", "after extraction", size(len(videos) * MAP_BYTES), f"{len(videos)} clips to extract"])
    lines += [[name, "", "", "", reason] for name, reason in at_hand.missing.items()]
    if demo:
        lines.append(["clips", "", "about an hour on two cores", size(400 * 1280 * 8 * 49 * 2), "400 clips to render"])
    stdout().print(table("runs to do, at most", ["data set", "runs", "time, roughly", "disk", "features"], lines))


def _notes(plan: "TablePlan", protocol: str, settings: dict[str, Any]) -> list[str]:
    changed = ", ".join(f"{name} {value}" for name, value in settings.items())
    return [
        f"Protocol {protocol}{', but ' + changed if changed else ''}.",
        "Frozen backbone: heads on cached features of a backbone that was never trained on the task. Published results "
        "train it end to end; the column fine-tuned is what compares with them. Beside it is untrained ProtoNet on the "
        "same tuned features: what it has in common with the head came with the backbone.",
        f"± is the 95 % interval over {plan.test.episodes} test episodes of the same videos, the same for all methods; "
        "± behind a number of seeds is their standard deviation. Against ProtoNet: paired, episode by episode.",
        "MACs and train ms are of one training episode's forward pass and of its forward and backward pass; test ms is "
        "of one test episode, with work once a video spread over all.",
    ]


def _print(entries: list["TableEntry"], way: int) -> None:
    from ta2n.pipeline.report.table.cells import to_sheets

    # A data set of which nothing is there is in the files alone; a failed row beside others is seen here too.
    there = {(entry.dataset, entry.shot) for entry in entries if entry.runs or entry.tuned}
    for sheet in to_sheets([entry for entry in entries if (entry.dataset, entry.shot) in there], way=way):
        stdout().print(table(sheet.title, list(sheet.columns), [list(row) for row in sheet.rows]))
        for text in sheet.notes:
            stdout().print(text, markup=False)
