"""A table of text, and its forms: Markdown, LaTeX and one HTML page that needs nothing beside it."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
}
_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8884; vertical-align: top }
th:first-child, td:first-child { text-align: left }
th { border-bottom-width: 2px }
.scroll { overflow-x: auto }
.note { opacity: .8; margin: .2rem 0 }
"""


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Attributes:
        title: above it.
        columns: heads of the columns.
        rows: as many cells each as there are columns.
        notes: sentences below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def to_markdown(title: str, sheets: Sequence[Sheet], notes: Sequence[str] = ()) -> str:
    """A Markdown document; the first column is left-aligned, the others right-aligned."""
    parts = [f"# {title}", *notes]
    for sheet in sheets:
        parts += [f"## {sheet.title}", _markdown_table(sheet), *sheet.notes]
    return "\n\n".join(parts) + "\n"


def _markdown_table(sheet: Sheet) -> str:
    lines = [sheet.columns, ("---", *("---:" for _ in sheet.columns[1:])), *sheet.rows]
    return "\n".join("| " + " | ".join(_markdown_cell(cell) for cell in line) + " |" for line in lines)


def _markdown_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def to_latex(title: str, sheets: Sequence[Sheet], notes: Sequence[str] = ()) -> str:
    """A table environment for each sheet; needs the package booktabs."""
    lines = [f"% {line}" for line in (title, *notes)]
    for sheet in sheets:
        lines += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(' '.join((sheet.title + '.', *sheet.notes)))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(sheet.columns) - 1)}}}",
            r"\toprule",
            *_latex_rows([sheet.columns]),
            r"\midrule",
            *_latex_rows(sheet.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(lines) + "\n"


def _latex_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    return [" & ".join(map(_latex, row)) + r" \\" for row in rows]


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def to_html(title: str, sheets: Sequence[Sheet], notes: Sequence[str] = ()) -> str:
    """A whole page without anything to load."""
    body = [f"<h1>{html.escape(title)}</h1>", *_html_notes(notes)]
    for sheet in sheets:
        body += [f"<h2>{html.escape(sheet.title)}</h2>", _html_table(sheet), *_html_notes(sheet.notes)]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body>\n</html>\n"
    )


def _html_table(sheet: Sheet) -> str:
    columns, *rows = (
        "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in line) + "</tr>"
        for kind, line in [("th", sheet.columns), *(("td", row) for row in sheet.rows)]
    )
    inside = "\n".join(["<thead>", columns, "</thead>", "<tbody>", *rows, "</tbody>"])
    return f'<div class="scroll"><table>\n{inside}\n</table></div>'


def _html_notes(notes: Sequence[str]) -> list[str]:
    return [f'<p class="note">{html.escape(note)}</p>' for note in notes]
