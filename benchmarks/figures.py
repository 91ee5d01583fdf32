"""Figures of the documents, from one file of records.

    ta2n demo --json | python benchmarks/figures.py collect demo -
    python benchmarks/figures.py collect heads build/bench/heads.json
    python benchmarks/figures.py write            # fills the blocks; with --check, only says which of them differ

``docs/figures.json`` holds a record for each command: the command, the day, the machine, the versions, and the values
that it printed with ``--json``. A document shows a record between ``<!-- figures: NAME -->`` and
``<!-- end figures -->``; what stands between the two is written by this script alone.
"""

import argparse
import datetime
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from side_by_side import machine

ROOT = Path(__file__).resolve().parents[1]
RECORDS = Path("docs") / "figures.json"
COMMANDS = {
    "demo": "ta2n demo --json",
    **{
        name: f"python benchmarks/{name}.py"
        for name in ("heads", "extraction", "evaluation", "cache_reads", "startup", "growth", "finetune")
    },
}
"""What each record is measured with, where the caller does not say otherwise."""

_BLOCK = re.compile(
    r"(?P<start><!-- figures: (?P<name>\S+) -->\n)(?P<body>.*?)(?P<end><!-- end figures -->)", re.DOTALL
)
Record = Mapping[str, Any]


class FiguresError(ValueError):
    """A record, or a block of a document, is not what it should be."""


def new_record(printed: Mapping[str, Any], *, command: str, measured: str) -> dict[str, Any]:
    """The record of what a command printed.

    Args:
        printed: its JSON; a benchmark's says what machine and versions it ran on, and others ran here.
        command: that printed it.
        measured: the day, ``YYYY-MM-DD``.
    """
    here = machine()
    found = printed.get("machine", here)
    # A file may come from another machine, of whose units nothing is known.
    amx = _has_amx_bf16() if found["cpu"] == here["cpu"] else None
    return {
        "command": command,
        "measured": measured,
        "machine": {"cores": found["cores"], "cpu": found["cpu"], "amx_bf16": amx},
        "versions": found["versions"],
        "values": {name: value for name, value in printed.items() if name != "machine"},
    }


def _has_amx_bf16() -> bool:
    info = Path("/proc/cpuinfo")
    return info.exists() and "amx_bf16" in info.read_text().split()


def rendered(name: str, records: Mapping[str, Record]) -> str:
    """The Markdown of a block: its tables, and a line that says where they come from.

    Raises:
        FiguresError: no record can have that name.
    """
    if name not in records:
        if name not in COMMANDS:
            raise FiguresError(f"figures: {name!r} is not a record; known are {', '.join(COMMANDS)}")
        return f"*Not measured yet: `{COMMANDS[name]}`, then `make figures`.*\n"
    record = records[name]
    tables = [demo_table(record["values"])] if name == "demo" else generic_tables(record["values"])
    return "\n".join([*tables, source(record)])


def source(record: Record) -> str:
    """The line under a record's tables."""
    on, versions = record["machine"], record["versions"]
    amx = {True: ", with AMX bfloat16", False: ", without AMX bfloat16", None: ""}[on["amx_bf16"]]
    packages = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch") if name in versions)
    return f"*`{record['command']}`, {record['measured']}: {on['cores']} cores ({on['cpu']}{amx}), {packages}.*\n"


def demo_table(values: Mapping[str, Mapping[str, Any]]) -> str:
    """Accuracy of each head; the paired difference too, where it was written down."""
    columns = ["method", "5-way 1-shot accuracy"]
    rows = [[name, _percent(found)] for name, found in values.items()]
    if any("difference" in found for found in values.values()):
        columns.append("against trained ProtoNet")
        for row, found in zip(rows, values.values(), strict=True):
            row.append(_percent(found["difference"], signed=True) if "difference" in found else "")
    return markdown(columns, rows)


def _percent(found: Mapping[str, float], *, signed: bool = False) -> str:
    mean = f"{100 * found['mean']:{'+' if signed else ''}.1f}".replace("-", "−")
    return f"{mean} ± {100 * found['interval']:.1f} %"


def generic_tables(values: Mapping[str, Any]) -> list[str]:
    """A table for every list of rows (or single row) among the values, under its name where there are several.

    Rows of other columns begin another table.
    """
    lists = {name: [value] if isinstance(value, Mapping) else value for name, value in values.items()}
    lists = {name: rows for name, rows in lists.items() if _are_rows(rows)}
    found = []
    for name, rows in lists.items():
        caption = f"**{name}**\n\n" if len(lists) > 1 else ""
        for columns in dict.fromkeys(tuple(row) for row in rows):
            cells = [[_cell(value) for value in row.values()] for row in rows if tuple(row) == columns]
            found.append(caption + markdown(columns, cells))
            caption = ""
    return found


def _are_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, with a line break at its end."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def fill(text: str, records: Mapping[str, Record]) -> tuple[str, list[str]]:
    """A document with its blocks filled, and the names of those that differed.

    Raises:
        FiguresError: a block has no end, or names no record.
    """
    differing = []
    if text.count("<!-- figures: ") != len(_BLOCK.findall(text)):
        raise FiguresError("a `<!-- figures: NAME -->` has no `<!-- end figures -->` behind it")

    def replace(block: re.Match[str]) -> str:
        body = rendered(block["name"], records)
        if body != block["body"]:
            differing.append(block["name"])
        return block["start"] + body + block["end"]

    return _BLOCK.sub(replace, text), differing


def documents(root: Path) -> list[Path]:
    """The documents that may hold blocks."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def write(root: Path, *, check: bool = False) -> list[str]:
    """Fills the blocks of all documents of a tree, or looks only; a line for each block that differed."""
    records = json.loads((root / RECORDS).read_text())
    lines = []
    for document in documents(root):
        text, differing = fill(document.read_text(), records)
        lines += [f"{document.relative_to(root)}: {name}" for name in differing]
        if differing and not check:
            document.write_text(text)
    return lines


def collect(root: Path, name: str, file: str, command: str | None = None) -> None:
    """Puts what a command printed into the records of a tree, in place of what was there.

    Raises:
        FiguresError: the name is not one of a record, or the file holds no JSON object.
    """
    if name not in COMMANDS:
        raise FiguresError(f"{name!r} is not a record; known are {', '.join(COMMANDS)}")
    try:
        printed = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text())
    except json.JSONDecodeError as error:
        raise FiguresError(f"{file}: not JSON ({error}); give what `{COMMANDS[name]}` wrote") from error
    if not isinstance(printed, dict):
        raise FiguresError(f"{file}: holds {type(printed).__name__}, expected an object with the results")
    at = datetime.datetime.now() if file == "-" else datetime.datetime.fromtimestamp(Path(file).stat().st_mtime)
    records = json.loads((root / RECORDS).read_text()) if (root / RECORDS).exists() else {}
    records[name] = new_record(printed, command=command or COMMANDS[name], measured=at.strftime("%Y-%m-%d"))
    (root / RECORDS).write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree whose documents are meant")
    verbs = parser.add_subparsers(dest="verb", required=True)
    collecting = verbs.add_parser("collect", help="put what a command wrote with --json into docs/figures.json")
    collecting.add_argument("name", choices=COMMANDS)
    collecting.add_argument("file", help="what it wrote; - reads it from the standard input")
    collecting.add_argument("--command", help="that wrote it, where it had other options than usual")
    writing = verbs.add_parser("write", help="fill the blocks of README.md and docs/*.md")
    writing.add_argument("--check", action="store_true", help="change nothing; exit with 1 where a block differs")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect or write; the exit status."""
    given = parse_arguments(arguments)
    if given.verb == "collect":
        collect(given.root, given.name, given.file, given.command)
        return 0
    lines = write(given.root, check=given.check)
    for line in lines:
        print(f"{line} {'differs; run `python benchmarks/figures.py write`' if given.check else 'written'}")
    return 1 if given.check and lines else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FiguresError as error:
        sys.exit(str(error))
