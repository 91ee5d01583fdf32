"""What a person sees: one progress bar or plain lines, tables, and errors of one line. Imports nothing heavy.

Whatever is printed comes by here, and through :func:`shown`: names of clips and folders are other people's, and may
hold what a terminal obeys.
"""

import json
import math
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ta2n.cache_schema.disk import size as size

if TYPE_CHECKING:
    from ta2n.pipeline.commands.reporting import OnProgress, Step

_LINE_SECONDS = 10.0
# Wider than any table: one that is not for a terminal is as wide as what it holds.
_FILE_WIDTH = 100_000
# What moves a cursor, sets a colour, ends a line or turns the direction of writing; and lone surrogates, which stand
# for bytes of a name that are not UTF-8.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: str) -> str:
    r"""Text as it is printed: lines stay lines, other control characters and odd bytes are shown as ``\x1b``."""
    return _CONTROL.sub(_escaped, text)


def shown_in_line(text: str) -> str:
    """Text as it is printed inside of a line, such as a name in a table: see :func:`shown`."""
    return shown(text).replace("\n", "\\n")


def _escaped(found: "re.Match[str]") -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # the byte that Python keeps so
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class _Plain(Console):
    """A console that takes text for text, never for markup."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(Text(shown(one)) if isinstance(one, str) else one for one in objects), **options)


def stdout() -> Console:
    """Where results go; a file or a pipe gets whole lines, however long."""
    terminal = sys.stdout.isatty()
    return _Plain(file=sys.stdout, highlight=False, soft_wrap=not terminal, width=None if terminal else _FILE_WIDTH)


def stderr() -> Console:
    """Where everything else goes."""
    return _Plain(file=sys.stderr, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_json(values: Any) -> None:
    """One JSON document on stdout; a number that is none, or has no end, is null."""
    sys.stdout.write(json.dumps(_finite(values), indent=2, default=str, allow_nan=False) + "\n")


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def note(text: str) -> None:
    """A line for the person, on stderr."""
    stderr().print(text)


def say(text: str) -> None:
    """A line of a result, on stdout; never wrapped."""
    stdout().print(text, soft_wrap=True)


def table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """A plain table; the first column is left-aligned, the others right-aligned."""
    made = Table(title=Text(shown_in_line(title)), title_justify="left")
    for number, column in enumerate(columns):
        made.add_column(Text(shown_in_line(column)), justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        made.add_row(*(Text(shown_in_line(cell)) for cell in row))
    return made


class Bar(Protocol):
    """Something that shows how far a job is."""

    def __call__(self, done: int, text: str = "") -> None:
        """Shows ``done`` units, and a few words."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Bar]:
    """A bar with rate and time left on a terminal; elsewhere a plain line every ten seconds."""
    console = stderr()
    if not console.is_terminal:
        yield _Lines(what, total, unit)
        return
    columns = (_words("{task.description}"), BarColumn(), MofNCompleteColumn(), _words(unit), _Rate())
    with Progress(*columns, TimeRemainingColumn(), _words("{task.fields[text]}"), console=console) as bar:
        task = bar.add_task(shown_in_line(what), total=total, text="")
        yield lambda done, text="": bar.update(task, completed=done, text=shown_in_line(text))


def _words(form: str) -> TextColumn:
    return TextColumn(form, markup=False)


@contextmanager
def bars() -> Iterator["OnProgress"]:
    """Shows the steps of a command: a :func:`progress` for each thing that is under way, one after the other."""
    with ExitStack() as shown:
        bar: Bar | None = None
        what = ""

        def show(step: "Step") -> None:
            nonlocal bar, what
            if bar is None or step.what != what:
                shown.close()
                what, bar = step.what, shown.enter_context(progress(step.what, step.total, step.unit))
            bar(step.done, step.text)

        yield show


class _Lines:
    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, text: str = "") -> None:
        now = time.monotonic()
        if now - self._last < _LINE_SECONDS:
            return
        self._last = now
        rate = done / (now - self._start)
        left = f", {duration((self._total - done) / rate)} left" if rate else ""
        note(f"{self._what}: {done}/{self._total} {self._unit}, {rate:.1f}/s{left}{', ' + text if text else ''}")


def duration(seconds: float) -> str:
    """E.g. ``3 s``, ``4 min 10 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
