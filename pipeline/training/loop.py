"""Episodic training of a head on cached maps, in steps that can be repeated one by one.

Every episode's clips, views and dropout are functions of (seed, episode number), so a run that is killed continues
from its last checkpoint to exactly the result of a run that was not.
"""

import dataclasses
import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import ta2n
from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.evaluation.evaluate import accuracy, evaluate
from ta2n.pipeline.evaluation.metrics import estimate
from ta2n.pipeline.heads import ClipEmbedder, build_head
from ta2n.pipeline.training.batches import batch_reader, episode_reader, episodes_of, seeded
from ta2n.pipeline.training.checkpoint import BEST, LAST, Checkpoint, load_checkpoint, save_checkpoint
from ta2n.pipeline.training.objectives import BaseClassifier
from ta2n.pipeline.training.prefetch import ahead
from ta2n.pipeline.training.settings import Progress, Settings
from ta2n.pipeline.training.timing import Stopwatch

_SAVE_SECONDS = 60.0
# These decide where a run stops, not what it passes through: a finished run can be continued with more epochs.
_NOT_COMPARED = ("epochs", "patience")


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        folder: of the run.
        progress: where it is.
        stopped_early: whether it stopped before its last epoch.
        seconds: that this call spent waiting for maps (``wait``), in ``forward``, ``backward`` and ``update``.
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

    ``folder`` gets ``best.safetensors``, ``last.safetensors`` (with the optimiser, to continue from) and
    ``metrics.jsonl``, a line an epoch. A folder with an unfinished run of the same settings is continued.

    Args:
        cache: the feature store.
        settings: the run.
        folder: where it is kept.
        device: where the head runs.
        place: where the maps of the train and val splits are kept: see :func:`ta2n.pipeline.cache.in_memory.keep`.
        on_episode: called after every training episode.
        on_epoch: called after every validation, also the one before the first epoch.

    Returns:
        The result; its head is ``load_checkpoint(folder).build()``.

    Raises:
        InputError: a split cannot give the episodes, the folder holds another run, or training diverged.
    """
    run = _Run(cache, settings, folder, device, place)
    run.start()
    if run.progress.episode == 0 and not run.progress.val:
        run.validate()
        if on_epoch:
            on_epoch(run.progress)
    while not run.finished:
        for _ in run.epoch():
            if on_episode:
                on_episode(run.progress)
        run.validate()
        if on_epoch:
            on_epoch(run.progress)
    return Result(folder, run.progress, run.stopped_early, dict(run.watch.seconds))


class _Run:
    """A run's head, optimiser and place, and how they are kept on disk."""

    def __init__(self, cache: FeatureCache, settings: Settings, folder: Path, device: torch.device, place: str) -> None:
        self.settings, self.folder, self.device, self.progress = settings, folder, device, Progress()
        self.watch = Stopwatch()
        episodes = episodes_of(cache, settings, "train")
        self.val = episodes_of(cache, settings, "val") if settings.val_episodes else None
        splits = ["train", "val"] if self.val else ["train"]
        rows = np.flatnonzero(np.any([cache.labels(split) >= 0 for split in splits], axis=0))
        self.loader = MapLoader(cache, frames=settings.frames, device=device, rows=rows, place=place)
        self.read = episode_reader(self.loader, settings, episodes)
        channels, _, size, _ = cache.map_shape
        self.about: dict[str, Any] = {
            "head": {
                "name": settings.method,
                "channels": channels,
                "frames": settings.frames,
                "size": size,
                "seed": settings.seed,
                **settings.options,
            },
            "settings": dataclasses.asdict(settings),
            "dataset": cache.manifest.dataset,
            "features": cache.manifest.features(),
            "manifest_hash": cache.manifest.hash(),
            "split_hash": cache.videos.hash(),
        }
        self.head = build_head(**self.about["head"])
        self.trained = nn.ModuleDict({"head": self.head})
        if settings.objective == "base":
            with seeded(settings.seed, 0, device=device):
                self.trained["classifier"] = classifier = BaseClassifier(self.head, cache.labels("train"))
            self.read = batch_reader(self.loader, settings, classifier)
        self.trained.to(device)
        # A classifier alone has nothing to teach a head without parameters.
        learns = any(parameter.requires_grad for parameter in self.head.parameters())
        self.optimizer = _optimizer(settings, list(self.trained.parameters())) if learns else None

    @property
    def stopped_early(self) -> bool:
        waited = len(self.progress.val) - 1 - self.progress.best_epoch
        return self.val is not None and waited >= self.settings.patience

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train: every epoch done, patience used up, or a head without parameters."""
        total = self.settings.epochs * self.settings.episodes_per_epoch
        return self.optimizer is None or self.progress.episode >= total or self.stopped_early

    def epoch(self) -> Iterator[None]:
        """Trains to the end of the current epoch, yielding after every episode."""
        per_epoch, accumulate = self.settings.episodes_per_epoch, self.settings.accumulate
        saved = time.monotonic()
        self.trained.train()
        start = self.progress.episode
        numbers = range(start, start - start % per_epoch + per_epoch)
        with closing(ahead(self.read, numbers)) as read:
            for number in numbers:
                with self.watch("wait"):
                    maps, labels = next(read)
                within = number % per_epoch
                self._learn(number, within, maps, labels)
                self.progress.episode += 1
                last = within + 1 == per_epoch
                # An epoch's last step may be of fewer episodes: an epoch stands alone, whatever its length.
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
        found = evaluate(self.head, self.loader, self.val, self.settings.val_episodes) if self.val else None
        result = estimate(found) if found is not None else None
        progress.val.append(result.mean if result else 0.0)
        if result is None or result.mean > progress.best_val:
            progress.best_val, progress.best_epoch = progress.val[-1], epoch
            save_checkpoint(self.folder / BEST, Checkpoint(self.head.state_dict(), self._about()))
        line = {
            "epoch": epoch,
            "episodes": progress.episode,
            "train_loss": progress.loss if epoch else None,
            "train_accuracy": progress.accuracy if epoch else None,
            "val_accuracy": result.mean if result else None,
            "val_interval": result.interval if result else None,
        }
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        progress.loss = progress.accuracy = 0.0
        self._save_last()

    def _learn(self, number: int, within: int, maps: tuple[Tensor, ...], labels: NDArray[np.int64]) -> None:
        """Adds the gradients of what was read."""
        with self.watch("forward"):
            loss, distances = self._loss(number, maps, torch.from_numpy(labels).to(self.device))
            value = loss.item()
        if not math.isfinite(value):
            raise InputError(f"training diverged: the loss of episode {number} is {value}; lower --lr")
        with self.watch("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
            self.progress.loss += (value / len(labels) - self.progress.loss) / (within + 1)
            self.progress.accuracy += (accuracy(distances.detach(), labels) - self.progress.accuracy) / (within + 1)

    def _loss(self, number: int, maps: tuple[Tensor, ...], labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and (B, classes) distances whose smallest is the answer."""
        with seeded(self.settings.seed, number, device=self.device):
            if "classifier" not in self.trained:
                distances = self.head(*maps, shot=self.settings.shot)
                return self.head.loss(distances, labels), distances
            classifier = cast(BaseClassifier, self.trained["classifier"])
            logits = classifier(cast(ClipEmbedder, self.head).embed_clip(*maps))
            return classifier.loss(logits, labels), -logits

    def _step(self) -> None:
        for parameter in self.trained.parameters():
            if parameter.grad is not None:
                parameter.grad /= self.settings.accumulate
        if self.optimizer:
            self.optimizer.step()
            self.optimizer.zero_grad()

    def start(self) -> None:
        """Begins a run in its folder, or takes up the one that is there."""
        if not (self.folder / LAST).is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "metrics.jsonl").write_text("")
            return
        stored = load_checkpoint(self.folder / LAST)
        pairs = {name: (stored.about.get(name), value) for name, value in self.about.items()}
        changes = "; ".join(f"{name}: {_change(*pair)}" for name, pair in pairs.items() if _change(*pair))
        if changes:
            raise InputError(f"{self.folder}: holds another run ({changes}); choose another --out, or its settings")
        self.progress = Progress(**stored.about["progress"])
        self._restore(stored.tensors)
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()[: len(self.progress.val)]
        (self.folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))

    def _about(self) -> dict[str, Any]:
        versions = {"ta2n": ta2n.__version__, "torch": torch.__version__, "python": platform.python_version()}
        return {**self.about, "versions": versions, "progress": dataclasses.asdict(self.progress)}

    def _save_last(self) -> None:
        tensors = dict(self.trained.state_dict())
        if self.optimizer:
            for number, state in self.optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
        save_checkpoint(self.folder / LAST, Checkpoint(tensors, self._about()))

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        self.trained.load_state_dict({name: t for name, t in tensors.items() if not name.startswith("optimizer.")})
        if not self.optimizer:
            return
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".", 2)
                state.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def _optimizer(settings: Settings, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=settings.learning_rate)
    return torch.optim.SGD(parameters, lr=settings.learning_rate)


def _change(stored: Any, wanted: Any) -> str:
    """What differs between two values, name by name for mappings; empty where nothing that matters does."""
    if not isinstance(stored, dict) or not isinstance(wanted, dict):
        return "" if stored == wanted else f"{stored} -> {wanted}"
    names = sorted((stored.keys() | wanted.keys()) - set(_NOT_COMPARED))
    return ", ".join(
        f"{name} {stored.get(name)} -> {wanted.get(name)}" for name in names if stored.get(name) != wanted.get(name)
    )
