"""``ta2n dataset check``: a doctor for copies of data sets."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ta2n.cache_schema.disk import require_file, write_whole
from ta2n.cli import options
from ta2n.cli.console import note, print_json, progress, say, shown_in_line, stdout, table
from ta2n.cli.errors import guarded

if TYPE_CHECKING:
    from ta2n.pipeline.datasets.check import Check
    from ta2n.pipeline.datasets.decode_check import Comparison

app = typer.Typer(no_args_is_help=True, help="Look into data sets.")

_SHOWN = 10


@app.callback()
def _group() -> None:
    """Keeps `check` a command of its own while it is the only one."""


@app.command("check")
@guarded
def check(
    name: Annotated[
        str,
        typer.Argument(help="ucf101, hmdb51, ssv2-otam, ssv2-cmn or kinetics-cmn; or a folder.", metavar="NAME|FOLDER"),
    ],
    root: options.Root = None,
    splits: options.Splits = None,
    split_file: options.SplitFile = None,
    way: Annotated[int, typer.Option(help="Classes N in an episode.", min=2)] = 5,
    shot: Annotated[int, typer.Option(help="Support clips K of a class.", min=1)] = 5,
    queries: Annotated[int, typer.Option(help="Query clips Q of a class.", min=1)] = 1,
    decode: Annotated[int, typer.Option(help="Decode this many clips, and compare with a decode in order.", min=0)] = 0,
    frame_pattern: Annotated[
        str | None,
        typer.Option(help="With --decode: which images of a clip's folder are its frames.", metavar="PATTERN"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Decoding processes; 0 takes one per core. \\[default: 0]", min=0, max=1024)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write everything, name by name, to this JSON file.", metavar="FILE")
    ] = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Set a copy of a data set against its split lists: what is there, what is not, and what can be done with it.

    Exit code 1 where a split cannot give one episode, or a decoded clip fails or differs; 0 otherwise, whatever is
    missing; 2 for bad input.

    Example: ta2n dataset check ucf101 --root /data/UCF-101 --way 5 --shot 5
    """
    from ta2n.pipeline.commands.machine import cores

    options.refuse(
        (workers is not None and not decode, "--workers is for --decode COUNT; give both or neither"),
        (frame_pattern is not None and not decode, "--frame-pattern goes with --decode, which reads frames"),
    )
    if report:
        require_file(report, "--report")
    place, found = _check(name, root, splits, split_file, seed, way=way, shot=shot, queries=queries)
    compared = _decode(place, found, decode, workers or cores(), seed, frame_pattern) if decode else []
    values = _as_dict(name, place, found, compared) | {"way": way, "shot": shot, "queries": queries}
    if report:
        _write(report, values)
    if as_json:
        print_json(values)
    else:
        _print(name, place, found, compared, f"{way}-way {shot}-shot, {queries} queries")
    if not values["ok"]:
        raise typer.Exit(1)


def _check(
    name: str,
    root: Path | None,
    splits: Path | None,
    split_file: Path | None,
    seed: int,
    *,
    way: int,
    shot: int,
    queries: int,
) -> tuple[Path, "Check"]:
    """The folder that was looked at, and what is there."""
    from ta2n.pipeline.datasets.check import check_clips, check_copy
    from ta2n.pipeline.datasets.lists import Listed
    from ta2n.pipeline.datasets.published import PUBLISHED
    from ta2n.pipeline.datasets.resolve import named_videos, resolve
    from ta2n.pipeline.datasets.scan import scan_copy

    if name in PUBLISHED:
        place, videos, notes = named_videos(name, root, splits, split_file, on_file=lambda url: note(f"fetching {url}"))
        for line in notes:
            note(line)
        return place, check_copy(videos, scan_copy(place), PUBLISHED[name], way=way, shot=shot, queries=queries)
    resolved = resolve(name, root=root, splits=splits, split_file=split_file, seed=seed)
    for line in resolved.notes:
        note(line)
    clips = resolved.videos
    columns = zip(clips.id.tolist(), clips.label.tolist(), clips.split.tolist(), strict=True)
    listed = [Listed(one, label, split, label, one) for one, label, split in columns]
    paths = dict(zip(clips.id.tolist(), clips.path.tolist(), strict=True))
    return Path(clips.root), check_clips(listed, paths, Path(clips.root), way=way, shot=shot, queries=queries)


def _decode(
    root: Path, found: "Check", count: int, workers: int, seed: int, frame_pattern: str | None
) -> list["Comparison"]:
    """Decodes a sample of the clips that are there."""
    import numpy as np

    from ta2n.pipeline.datasets.decode_check import compare_decoding

    names = sorted(found.found)
    drawn = np.random.default_rng(seed).permutation(len(names))[:count]
    clips = [(names[place], root / found.found[names[place]]) for place in sorted(drawn.tolist())]
    with progress("decoding", len(clips), "clips") as bar:
        return compare_decoding(clips, workers=workers, frame_pattern=frame_pattern, on_clip=bar)


def _as_dict(name: str, root: Path, found: "Check", compared: list["Comparison"]) -> dict[str, Any]:
    """All of it as plain JSON values."""
    ok = all(split.possible for split in found.splits) and bool(found.found)
    return {
        "dataset": name,
        "root": str(root),
        "ok": ok and not any(one.result in ("failed", "differs") for one in compared),
        "splits": [dataclasses.asdict(split) for split in found.splits],
        "classes": [dataclasses.asdict(one) for one in found.classes],
        "rules": dict(found.rules),
        "missing": list(found.missing),
        "duplicates": dict(found.duplicates),
        "unreadable": dict(found.unreadable),
        "almost": dict(found.almost),
        "extra": list(found.extra),
        "copies": list(found.copies),
        "decoded": [dataclasses.asdict(one) for one in compared],
    }


def _write(file: Path, values: dict[str, Any]) -> None:
    # Names that are not UTF-8 are written as JSON writes them.
    write_whole(file, json.dumps(values, indent=1, ensure_ascii=False).encode(errors="backslashreplace"))


def _print(name: str, root: Path, found: "Check", compared: list["Comparison"], episode: str) -> None:
    console = stdout()
    counts = ["listed", "found", "missing", "duplicate", "unreadable", "extra"]
    lines = [
        [
            split.split or "none",
            str(split.classes),
            *(str(getattr(split, count)) for count in counts),
            f"{split.enough} classes, {'possible' if split.possible else 'NOT possible'}",
        ]
        for split in found.splits
    ]
    console.print(table(f"{name} in {root}", ["split", "classes", *counts, episode], lines))
    poor = sorted((one for one in found.classes if one.found < one.listed), key=lambda one: one.found - one.listed)
    if poor:
        lines = [[one.label, one.split, *(str(getattr(one, count)) for count in counts)] for one in poor[:_SHOWN]]
        title = f"{len(poor)} classes are not whole" + (f", the first {_SHOWN}" if len(poor) > _SHOWN else "")
        console.print(table(title, ["class", "split", *counts], lines))
    if found.rules:
        say("found by " + ", ".join(f"{rule}: {count}" for rule, count in found.rules.items()))
    for title, texts in _findings(found, compared):
        if texts:
            say(f"{title} ({len(texts)}):")
            for text in texts[:_SHOWN]:
                say(f"  {shown_in_line(text)}")
            if len(texts) > _SHOWN:
                say(f"  and {len(texts) - _SHOWN} more: --report FILE has them all")


def _findings(found: "Check", compared: list["Comparison"]) -> list[tuple[str, list[str]]]:
    """What to name one by one, with its title."""
    return [
        ("missing", list(found.missing)),
        ("missing, but much like", [f"{one}: {path}" for one, path in found.almost.items()]),
        (
            "several clips match, none is used",
            [f"{one}: {', '.join(paths)}" for one, paths in found.duplicates.items()],
        ),
        ("unreadable", list(found.unreadable.values())),
        ("further copies of clips that were found", list(found.copies)),
        ("in no list", list(found.extra)),
        ("decoded", [f"{one.result}: {one.clip_id} ({one.detail})" for one in compared]),
    ]
