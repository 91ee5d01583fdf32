"""``metrics.jsonl``: a line an epoch, which the checkpoint has too, so that lost lines can be written again."""

import json
from pathlib import Path
from typing import Any

from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.plain_json import to_json
from ta2n.pipeline.evaluation.metrics import Estimate
from ta2n.pipeline.training.checkpoint import partial_of
from ta2n.pipeline.training.settings import Progress

METRICS = "metrics.jsonl"


def line_of(progress: Progress, epoch: int, result: Estimate | None) -> dict[str, Any]:
    """What is said of an epoch; a loss of several terms is said term by term too."""
    return {
        "epoch": epoch,
        "episodes": progress.episode,
        "train_loss": progress.loss if epoch else None,
        **{f"train_loss_{name}": value for name, value in progress.terms.items()},
        "train_accuracy": progress.accuracy if epoch else None,
        "val_accuracy": result.mean if result else None,
        "val_interval": result.interval if result else None,
    }


def append_line(folder: Path, line: dict[str, Any]) -> None:
    """Adds the line of an epoch."""
    with (folder / METRICS).open("a") as file:
        file.write(_text(line))


def rewrite(folder: Path, lines: list[dict[str, Any]]) -> bool:
    """Makes the file hold these lines and no others.

    Returns:
        Whether one of them was missing or was another; lines behind them do not count: a kill between the line and the
        checkpoint leaves one.
    """
    file, text = folder / METRICS, "".join(map(_text, lines))
    found = file.read_bytes() if file.is_file() else b""
    if found != text.encode():
        partial = partial_of(file)
        partial.write_text(text)
        partial.replace(file)
    return not found.startswith(text.encode())


def history_of(folder: Path, progress: Progress) -> list[dict[str, Any]]:
    """The lines of every epoch of a run: from its checkpoint, or for an older ta2n's from the file, epoch by epoch.

    Args:
        folder: of the run.
        progress: as its checkpoint has it.

    Raises:
        InputError: the checkpoint has no lines, and the file lacks the epochs that the message names.
    """
    epochs = len(progress.val)
    if len(progress.history) == epochs:
        return progress.history
    file = folder / METRICS
    texts = file.read_text(errors="replace").splitlines() if file.is_file() else []
    found = {line["epoch"]: line for line in map(_parsed, texts) if line}
    lost = [epoch for epoch in range(epochs) if not _is_of(found.get(epoch), progress.val[epoch])]
    if lost:
        raise InputError(
            f"{file}: the lines of these epochs are missing or are another run's: {', '.join(map(str, lost))}; put "
            "them back, or start again with another --out"
        )
    return [found[epoch] for epoch in range(epochs)]


def _text(line: dict[str, Any]) -> str:
    return to_json(line) + "\n"


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("epoch"), int) else None


def _is_of(line: dict[str, Any] | None, val: float) -> bool:
    """Whether a line tells of an epoch with this val accuracy; a run that does not select has none in its lines."""
    return line is not None and line.get("val_accuracy") in (val, None)
