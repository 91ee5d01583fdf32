"""A run's folder as a call finds it: empty, or with a run to continue, which must be the one that is asked for."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.evaluation.scratch import OnNote
from ta2n.pipeline.training.checkpoint import BEST, LAST, Checkpoint, partial_of, read_checkpoint
from ta2n.pipeline.training.metrics import METRICS, history_of, rewrite
from ta2n.pipeline.training.resume import changed_clips, changes, up_to_the_end
from ta2n.pipeline.training.settings import Progress, Settings


@dataclass(frozen=True)
class Found:
    """A run to continue.

    Attributes:
        progress: where it is, or was when the run that is asked for ended.
        tensors: of its last checkpoint.
    """

    progress: Progress
    tensors: dict[str, Tensor]


def open_run(folder: Path, wanted: Mapping[str, Any], settings: Settings, on_note: OnNote | None) -> Found | None:
    """Makes a run's folder ready, and finds the run that is in it.

    What a killed run left half-written is removed, and lost lines of the metrics are written again.

    Args:
        folder: of the run; the caller holds its lock.
        wanted: what decides the run that is asked for.
        settings: of the run that is asked for.
        on_note: gets lines worth knowing.

    Returns:
        None where there is none: the folder is ready for a new one.

    Raises:
        InputError: what is there is another run, one of other clips, a longer one that has overwritten the weights that
            are asked for, or a damaged one.
    """
    for name in (BEST, LAST, METRICS):
        partial_of(folder / name).unlink(missing_ok=True)
    if not (folder / LAST).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / METRICS).write_text("")
        return None
    stored = read_checkpoint(folder / LAST)
    _refuse_another(folder, stored, wanted, settings)
    best = _best(folder)
    whole = _progress(stored)
    whole = dataclasses.replace(whole, history=history_of(folder, whole))
    progress = up_to_the_end(whole, settings, best_kept=best.metadata["progress"]["best_epoch"], folder=folder)
    notes = [*stored.notes(), *best.notes()]
    if "clips" in wanted and "clips" not in stored.metadata:
        notes.append(f"note: {stored.file} does not name its clips; whether they are the same is not checked")
    if len(progress.val) < len(whole.val):
        end, done = len(progress.val) - 1, len(whole.val) - 1
        notes.append(f"note: {folder} holds a run of {done} epochs; this is its result at epoch {end}, as asked for")
    if rewrite(folder, whole.history):
        notes.append(f"note: {folder / METRICS} lacked lines; they are written again from {LAST}")
    if on_note:
        for line in notes:
            on_note(line)
    return Found(progress, stored.tensors)


def _refuse_another(folder: Path, stored: Checkpoint, wanted: Mapping[str, Any], settings: Settings) -> None:
    if found := changes(stored.metadata, wanted, settings):
        raise InputError(f"{folder}: holds another run ({found}); choose another --out, or its settings")
    if found := changed_clips(stored.metadata, wanted):
        raise InputError(
            f"{folder}: its run was trained on other clips than the store has now ({found}); choose another --out, or "
            f"delete {LAST} there to start it again"
        )


def _best(folder: Path) -> Checkpoint:
    if not (folder / BEST).is_file():
        raise InputError(f"{folder}: has no {BEST}, but a {LAST}; delete that to start the run again")
    return read_checkpoint(folder / BEST)


def _progress(stored: Checkpoint) -> Progress:
    """Where a run was; a newer ta2n may have written more of it down, an older one less."""
    known = {field.name for field in dataclasses.fields(Progress)}
    return Progress(**{name: value for name, value in stored.metadata["progress"].items() if name in known})
