"""The table in a folder: Markdown, LaTeX and HTML for people, CSV and JSON for programs."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ta2n.cache_schema.plain_json import to_json
from ta2n.pipeline.evaluation.classes import as_line
from ta2n.pipeline.report.table.cells import to_sheets
from ta2n.pipeline.report.table.entries import TableEntry, as_record
from ta2n.pipeline.report.table.sheet import to_html, to_latex, to_markdown


def write_table(
    entries: Sequence[TableEntry], folder: Path, *, title: str, way: int, notes: Sequence[str] = ()
) -> list[Path]:
    """Writes ``table.md``, ``.tex``, ``.html``, ``.csv`` and ``.json``, each in one step.

    Args:
        entries: of the table, at least one.
        folder: made where it is not there.
        title: of the table.
        way: N, for the titles of the sheets.
        notes: sentences on how it was made.

    Returns:
        The files.
    """
    sheets = to_sheets(entries, way=way)
    records = [as_record(entry, entries) for entry in entries]
    lines = io.StringIO()
    writer = csv.DictWriter(lines, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_line(record) for record in records)
    texts = {
        "md": to_markdown(title, sheets, notes),
        "tex": to_latex(title, sheets, notes),
        "html": to_html(title, sheets, notes),
        "csv": lines.getvalue(),
        "json": to_json({"title": title, "way": way, "notes": list(notes), "results": records}, indent=2) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / f"table.{ending}", text) for ending, text in texts.items()]


def _write(file: Path, text: str) -> Path:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(file)
