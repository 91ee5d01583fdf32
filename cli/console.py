"""What a person sees: one progress bar or plain lines, tables, and errors of one line. Imports nothing heavy."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ta2n.cache_schema.plain_json import to_json

if TYPE_CHECKING:
    from ta2n.pipeline.commands.reporting import OnProgress, Step

_LINE_SECONDS = 10.0
# Wider than any table: one that is not for a terminal is as wide as what it holds.
_FILE_WIDTH = 100_000


def stdout() -> Console:
    """Where results go; a file or a pipe gets whole lines, however long."""
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, highlight=False, soft_wrap=not terminal, width=None if terminal else _FILE_WIDTH)


def stderr() -> Console:
    """Where everything else goes."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_json(values: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(to_json(values, indent=2, default=str) + "\n")


def note(text: str) -> None:
    """A line for the person, on stderr; ``text`` is not read as markup."""
    stderr().print(Text(text))


def table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """A plain table; the first column is left-aligned, the others right-aligned."""
    made = Table(title=Text(title), title_justify="left")
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
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
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), _Rate())
    with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[text]}"), console=console) as bar:
        task = bar.add_task(what, total=total, text="")
        yield lambda done, text="": bar.update(task, completed=done, text=text)


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


def size(count: float) -> str:
    """Bytes in decimal units, e.g. ``1.6 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
