"""The training loop: items in order, accumulated into steps, saved, resumed, validated, stopped early.

Every item's clips, views and dropout are functions of (seed, number). On a CPU a run that is killed continues from its
last checkpoint to exactly the result of a run that was not; on a GPU to that of its kernels, which need not add in the
same order twice.
"""

import dataclasses
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import ta2n
from ta2n.cache_schema.lock import writing
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.evaluation.scratch import OnNote, Scratch, scratch_folder
from ta2n.pipeline.training.checkpoint import BEST, LAST, Checkpoint, save_checkpoint
from ta2n.pipeline.training.clips import without_names
from ta2n.pipeline.training.folder import open_run
from ta2n.pipeline.training.metrics import append_line, line_of
from ta2n.pipeline.training.optimizer import make_optimizer, restore, state_of
from ta2n.pipeline.training.prefetch import prefetch
from ta2n.pipeline.training.resume import ending
from ta2n.pipeline.training.settings import Progress, Settings
from ta2n.pipeline.training.tasks import Learned, Renamed, Task, task_of
from ta2n.pipeline.training.timing import Stopwatch

_SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        folder: of the run.
        progress: where it is.
        stopped_early: whether it stopped before its last epoch.
        seconds: that this call spent waiting for data (``wait``), in ``forward``, ``backward`` and ``update``.
    """

    folder: Path
    progress: Progress
    stopped_early: bool
    seconds: Mapping[str, float]


OnProgress = Callable[[Progress], None]


def train_head(
    cache: FeatureCache,
    settings: Settings,
    folder: Path,
    *,
    device: torch.device,
    place: str = "auto",
    scratch: Scratch | None = None,
    on_episode: OnProgress | None = None,
    on_epoch: OnProgress | None = None,
    on_note: OnNote | None = None,
) -> Result:
    """Trains a head on the train split and keeps the weights that do best on the val split.

    Args:
        cache: the feature store.
        settings: the run.
        folder: where it is kept: see :func:`run_task`.
        device: where the head runs.
        place: where the maps of the train and val splits are kept: see :func:`ta2n.pipeline.cache.in_memory.keep`.
        scratch: where what does not fit in memory goes; None is beside the run.
        on_episode: called after every training episode.
        on_epoch: called after every validation, also the one before the first epoch.
        on_note: gets lines worth knowing.

    Returns:
        The result; its head is ``load_checkpoint(folder).build()``.

    Raises:
        InputError: a split cannot give the episodes, the folder holds another run, or training diverged.
    """
    scratch = scratch or Scratch(scratch_folder(None, beside=folder), on_note)
    task = task_of(cache, settings, device, place, scratch)
    return run_task(task, settings, folder, on_item=on_episode, on_epoch=on_epoch, on_note=on_note)


def run_task(
    task: Task,
    settings: Settings,
    folder: Path,
    *,
    on_item: OnProgress | None = None,
    on_epoch: OnProgress | None = None,
    on_note: OnNote | None = None,
    command: str = "ta2n train-head",
) -> Result:
    """Trains a task to its end.

    ``folder`` gets ``best.safetensors``, ``last.safetensors`` (with the optimiser, to continue from) and
    ``metrics.jsonl``, a line an epoch. A folder with a run of the same settings on the same clips is continued. Where
    that run is longer than what is asked for, the result is that of the epoch at which the asked run ends.

    Args:
        task: what to do at each step.
        settings: epochs, accumulation, optimiser, patience; all of them decide whether a folder's run is this one.
        folder: where the run is kept.
        on_item: called after every training item.
        on_epoch: called after every validation, also the one before the first epoch.
        on_note: gets lines worth knowing.
        command: that trains, for whoever finds the folder locked.

    Raises:
        InputError: the folder holds another run, one of other clips, a longer one that overwrote the weights that are
            asked for, or a damaged one; or training diverged.
        BusyError: another process is training in the folder.
    """
    with writing(folder, command):
        loop = _Loop(task, settings, folder)
        loop.start(on_note)
        if loop.progress.episode == 0 and not loop.progress.val:
            loop.validate()
            if on_epoch:
                on_epoch(loop.progress)
        while not loop.finished:
            for _ in loop.epoch():
                if on_item:
                    on_item(loop.progress)
            loop.validate()
            if on_epoch:
                on_epoch(loop.progress)
    return Result(folder, loop.progress, loop.stopped_early, dict(loop.watch.seconds))


class _Loop:
    """A task's optimiser and progress, and how they are kept on disk."""

    def __init__(self, task: Task, settings: Settings, folder: Path) -> None:
        self.task, self.settings, self.folder, self.progress = task, settings, folder, Progress()
        self.watch = Stopwatch()
        groups = task.parameter_groups()
        self.optimizer = make_optimizer(settings, groups) if groups else None

    @property
    def stopped_early(self) -> bool:
        waited = len(self.progress.val) - 1 - self.progress.best_epoch
        return self.settings.val_episodes > 0 and waited >= self.settings.patience

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train: every epoch done, patience used up, or nothing that learns."""
        return self.optimizer is None or ending(self.progress.val, self.settings) is not None

    def epoch(self) -> Iterator[None]:
        """Trains to the end of the current epoch, yielding after every item."""
        per_epoch, accumulate = self.settings.episodes_per_epoch, self.settings.accumulate
        saved = time.monotonic()
        self.task.modules.train()
        start = self.progress.episode
        numbers = range(start, start - start % per_epoch + per_epoch)
        with closing(prefetch(self.task.read, numbers)) as read:
            for number in numbers:
                with self.watch("wait"):
                    data = next(read)
                within = number % per_epoch
                self._count(self.task.learn(number, data, self.watch), within)
                # An epoch's last step may be of fewer items: an epoch stands alone, whatever its length.
                last = within + 1 == per_epoch
                if last or (within + 1) % accumulate == 0:
                    with self.watch("update"):
                        self._step()
                    if not last and time.monotonic() - saved > _SAVE_SECONDS:
                        self._save_last()
                        saved = time.monotonic()
                yield

    def validate(self) -> None:
        """Evaluates on the val split, keeps the best weights, and writes down where the run is."""
        progress = self.progress
        epoch = progress.episode // self.settings.episodes_per_epoch
        result = self.task.validate()
        line = line_of(progress, epoch, result)
        progress.val.append(result.mean if result else 0.0)
        progress.history.append(line)
        if result is None or result.mean > progress.best_val:
            progress.best_val, progress.best_epoch = progress.val[-1], epoch
            save_checkpoint(self.folder / BEST, Checkpoint(self.task.best(), self._metadata(of_best=True)))
        append_line(self.folder, line)
        progress.loss = progress.accuracy = 0.0
        progress.terms = {}
        self._save_last()

    def _count(self, learned: Learned, within: int) -> None:
        """Moves the epoch's running means on by an item."""
        progress, count = self.progress, within + 1
        progress.loss += (sum(learned.terms.values()) / learned.clips - progress.loss) / count
        progress.accuracy += (learned.accuracy - progress.accuracy) / count
        if len(learned.terms) > 1:
            for name, value in learned.terms.items():
                before = progress.terms.get(name, 0.0)
                progress.terms[name] = before + (value / learned.clips - before) / count
        progress.episode += 1

    def _step(self) -> None:
        for parameter in self.task.modules.parameters():
            if parameter.grad is not None:
                parameter.grad /= self.settings.accumulate
        if self.settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.task.modules.parameters(), self.settings.clip_norm)
        if self.optimizer:
            self.optimizer.step()
            self.optimizer.zero_grad()

    def start(self, on_note: OnNote | None) -> None:
        """Begins a run in its folder, or takes up the one that is there."""
        found = open_run(self.folder, self._identity(), self.settings, on_note)
        if found:
            self.progress = found.progress
            restore(self.task.modules, self.optimizer, found.tensors, self.folder / LAST)

    def _identity(self) -> dict[str, Any]:
        """What decides the run."""
        return {**self.task.metadata, "settings": dataclasses.asdict(self.settings)}

    def _metadata(self, *, of_best: bool = False) -> dict[str, Any]:
        about = self._identity()
        if of_best and isinstance(self.task, Renamed):
            about |= self.task.of_best()
        if of_best and "clips" in about:
            about["clips"] = without_names(about["clips"])  # who continues a run needs the names; who uses it does not
        versions = {"ta2n": ta2n.__version__, "torch": torch.__version__, "python": platform.python_version()}
        return {**about, "versions": versions, "progress": dataclasses.asdict(self.progress)}

    def _save_last(self) -> None:
        tensors = {**self.task.modules.state_dict(), **state_of(self.optimizer)}
        save_checkpoint(self.folder / LAST, Checkpoint(tensors, self._metadata()))
