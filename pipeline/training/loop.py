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
from torch import Tensor

import ta2n
from ta2n.cache_schema.errors import InputError
from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.plain_json import to_json
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.evaluation.metrics import Estimate
from ta2n.pipeline.training.checkpoint import BEST, LAST, Checkpoint, load_checkpoint, save_checkpoint
from ta2n.pipeline.training.prefetch import prefetch
from ta2n.pipeline.training.settings import Progress, Settings
from ta2n.pipeline.training.tasks import Learned, Task, task_of
from ta2n.pipeline.training.timing import Stopwatch

METRICS = "metrics.jsonl"
_SAVE_SECONDS = 60.0
# Epochs and patience decide where a run stops, not what it passes through: a finished run can be continued with more
# epochs. The manifest is compared by its hash, which leaves out who wrote it.
_NOT_COMPARED = ("epochs", "patience", "manifest")


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
    on_episode: OnProgress | None = None,
    on_epoch: OnProgress | None = None,
) -> Result:
    """Trains a head on the train split and keeps the weights that do best on the val split.

    Args:
        cache: the feature store.
        settings: the run.
        folder: where it is kept: see :func:`run_task`.
        device: where the head runs.
        place: where the maps of the train and val splits are kept: see :func:`ta2n.pipeline.cache.in_memory.keep`.
        on_episode: called after every training episode.
        on_epoch: called after every validation, also the one before the first epoch.

    Returns:
        The result; its head is ``load_checkpoint(folder).build()``.

    Raises:
        InputError: a split cannot give the episodes, the folder holds another run, or training diverged.
    """
    task = task_of(cache, settings, device, place)
    return run_task(task, settings, folder, on_item=on_episode, on_epoch=on_epoch)


def run_task(
    task: Task,
    settings: Settings,
    folder: Path,
    *,
    on_item: OnProgress | None = None,
    on_epoch: OnProgress | None = None,
) -> Result:
    """Trains a task to its end.

    ``folder`` gets ``best.safetensors``, ``last.safetensors`` (with the optimiser, to continue from) and
    ``metrics.jsonl``, a line an epoch. A folder with an unfinished run of the same settings is continued.

    Args:
        task: what to do at each step.
        settings: epochs, accumulation, optimiser, patience; all of them decide whether a folder's run is this one.
        folder: where the run is kept.
        on_item: called after every training item.
        on_epoch: called after every validation, also the one before the first epoch.

    Raises:
        InputError: the folder holds another run, or training diverged.
        BusyError: another process is training in the folder.
    """
    with writing(folder, "ta2n train-head"):
        loop = _Loop(task, settings, folder)
        loop.start()
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
        self.optimizer = _optimizer(settings, groups) if groups else None

    @property
    def stopped_early(self) -> bool:
        waited = len(self.progress.val) - 1 - self.progress.best_epoch
        return self.settings.val_episodes > 0 and waited >= self.settings.patience

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train: every epoch done, patience used up, or nothing that learns."""
        total = self.settings.epochs * self.settings.episodes_per_epoch
        return self.optimizer is None or self.progress.episode >= total or self.stopped_early

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
        progress.val.append(result.mean if result else 0.0)
        if result is None or result.mean > progress.best_val:
            progress.best_val, progress.best_epoch = progress.val[-1], epoch
            save_checkpoint(self.folder / BEST, Checkpoint(self.task.best(), self._metadata()))
        with (self.folder / METRICS).open("a") as file:
            file.write(to_json(_line(progress, epoch, result)) + "\n")
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
        if self.optimizer:
            self.optimizer.step()
            self.optimizer.zero_grad()

    def start(self) -> None:
        """Begins a run in its folder, or takes up the one that is there."""
        if not (self.folder / LAST).is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / METRICS).write_text("")
            return
        stored = load_checkpoint(self.folder / LAST)
        mine = self._identity()
        pairs = {name: (stored.metadata.get(name), value) for name, value in mine.items() if name not in _NOT_COMPARED}
        changes = "; ".join(f"{name}: {_change(*pair)}" for name, pair in pairs.items() if _change(*pair))
        if changes:
            raise InputError(f"{self.folder}: holds another run ({changes}); choose another --out, or its settings")
        self.progress = Progress(**stored.metadata["progress"])
        self._restore(stored.tensors)
        lines = (self.folder / METRICS).read_text().splitlines()[: len(self.progress.val)]
        (self.folder / METRICS).write_text("".join(f"{line}\n" for line in lines))

    def _identity(self) -> dict[str, Any]:
        """What decides the run."""
        return {**self.task.metadata, "settings": dataclasses.asdict(self.settings)}

    def _metadata(self) -> dict[str, Any]:
        versions = {"ta2n": ta2n.__version__, "torch": torch.__version__, "python": platform.python_version()}
        return {**self._identity(), "versions": versions, "progress": dataclasses.asdict(self.progress)}

    def _save_last(self) -> None:
        tensors = dict(self.task.modules.state_dict())
        if self.optimizer:
            for number, state in self.optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
        save_checkpoint(self.folder / LAST, Checkpoint(tensors, self._metadata()))

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        weights = {name: tensor for name, tensor in tensors.items() if not name.startswith("optimizer.")}
        self.task.modules.load_state_dict(weights)
        if not self.optimizer:
            return
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".", 2)
                state.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def _line(progress: Progress, epoch: int, result: Estimate | None) -> dict[str, Any]:
    """What ``metrics.jsonl`` says of an epoch; a loss of several terms is said term by term too."""
    return {
        "epoch": epoch,
        "episodes": progress.episode,
        "train_loss": progress.loss if epoch else None,
        **{f"train_loss_{name}": value for name, value in progress.terms.items()},
        "train_accuracy": progress.accuracy if epoch else None,
        "val_accuracy": result.mean if result else None,
        "val_interval": result.interval if result else None,
    }


def _optimizer(settings: Settings, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=settings.learning_rate)
    return torch.optim.SGD(groups, lr=settings.learning_rate)


def _change(stored: Any, wanted: Any) -> str:
    """What differs between two values, name by name for mappings; empty where nothing that matters does."""
    if not isinstance(stored, dict) or not isinstance(wanted, dict):
        return "" if stored == wanted else f"{stored} -> {wanted}"
    names = sorted((stored.keys() | wanted.keys()) - set(_NOT_COMPARED))
    return ", ".join(
        f"{name} {stored.get(name)} -> {wanted.get(name)}" for name in names if stored.get(name) != wanted.get(name)
    )
