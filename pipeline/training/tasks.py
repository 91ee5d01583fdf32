"""What a training run does at each step; the loop around it is the same for all.

A :class:`Task` reads an item by its number, adds its gradients, and says how good the weights are on the val split.
There are two: a head on episodes, and a classifier over the base classes on what a head makes of single clips.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.episodes import Episode
from ta2n.pipeline.evaluation.evaluate import accuracy, evaluate
from ta2n.pipeline.evaluation.metrics import Estimate, estimate
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.heads import ClipEmbedder, Head, build_head
from ta2n.pipeline.training.batches import episodes_of, generator_of, seeded
from ta2n.pipeline.training.clips import clips_of
from ta2n.pipeline.training.objectives import BaseClassifier
from ta2n.pipeline.training.settings import Settings
from ta2n.pipeline.training.timing import Stopwatch


class Learned(NamedTuple):
    """What came of one item: the terms of its loss, each the sum over its clips, their number, and the accuracy."""

    terms: Mapping[str, float]
    clips: int
    accuracy: float


class Task(Protocol):
    """What the loop asks of a task.

    Attributes:
        modules: everything that is trained, by name; their state is what ``last.safetensors`` keeps.
        metadata: plain JSON values that decide the run beside its settings, and what is needed to build the head; each
            is compared by name when a run is continued. ``clips``, where there is one, is of :func:`clips_of`.
    """

    modules: nn.ModuleDict
    metadata: dict[str, Any]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What torch's optimisers take; empty where there is nothing to train."""

    def read(self, number: int) -> Any:
        """The data of an item, a function of its number alone; called in a thread, one item ahead."""

    def learn(self, number: int, data: Any, watch: Stopwatch) -> Learned:
        """Adds the gradients of an item to ``.grad`` of the modules, timing ``forward`` and ``backward``.

        How, and in how many calls of backward, is the task's own affair; the optimiser is the loop's.

        Raises:
            InputError: the loss is not finite.
        """

    def validate(self) -> Estimate | None:
        """Accuracy on the val split; None where the run does not select."""

    def best(self) -> dict[str, Tensor]:
        """The state that ``best.safetensors`` keeps: what is needed to use the result."""


@runtime_checkable
class Renamed(Protocol):
    """A task whose best weights are of other features than it began with."""

    def of_best(self) -> dict[str, Any]:
        """What of the metadata is another in ``best.safetensors``, as the weights are now."""


class _HeadTask:
    """What both tasks share: a head, the maps of the splits, and validation by episodes."""

    def __init__(
        self, cache: FeatureCache, settings: Settings, device: torch.device, place: str, scratch: Scratch | None = None
    ) -> None:
        self.settings, self.device, self.scratch = settings, device, scratch
        self.episodes = episodes_of(cache, settings, "train")
        self.val = episodes_of(cache, settings, "val") if settings.val_episodes else None
        splits = ["train", "val"] if self.val else ["train"]
        rows = np.flatnonzero(np.any([cache.labels(split) >= 0 for split in splits], axis=0))
        self.loader = MapLoader(cache, frames=settings.frames, device=device, rows=rows, place=place)
        self.metadata = metadata_of(cache, settings, splits)
        self.head: Head = build_head(**self.metadata["head"])
        self.modules = nn.ModuleDict({"head": self.head})

    def parameter_groups(self) -> list[dict[str, Any]]:
        # A classifier alone has nothing to teach a head without parameters.
        learns = any(parameter.requires_grad for parameter in self.head.parameters())
        return [{"params": list(self.modules.parameters())}] if learns else []

    def validate(self) -> Estimate | None:
        if self.val is None:
            return None
        return estimate(evaluate(self.head, self.loader, self.val, self.settings.val_episodes, scratch=self.scratch))

    def best(self) -> dict[str, Tensor]:
        return self.head.state_dict()


class EpisodeMaps(NamedTuple):
    """An episode and its maps."""

    episode: Episode
    support: Tensor
    query: Tensor


class EpisodicTask(_HeadTask):
    """A head on episodes of the train split, under the sum of its own loss terms.

    Args:
        cache: the store.
        settings: of the run.
        device: where the head runs.
        place: where the maps are kept: see :func:`ta2n.pipeline.cache.in_memory.keep`.
        scratch: where validation puts what does not fit in memory; None is the system's folder for temporary files.

    Raises:
        InputError: a split cannot give the episodes, or its maps do not fit in ``place``.
    """

    def __init__(
        self, cache: FeatureCache, settings: Settings, device: torch.device, place: str, scratch: Scratch | None = None
    ) -> None:
        super().__init__(cache, settings, device, place, scratch)
        labels = cache.labels("train")
        classes = np.unique(labels[labels >= 0])
        self._base_class = torch.from_numpy(np.searchsorted(classes, labels))  # of no meaning for other rows
        self.modules.to(device)

    def read(self, number: int) -> EpisodeMaps:
        """See :meth:`Task.read`."""
        generator, episode = generator_of(self.settings, number), self.episodes[number]
        support = self.loader.train(episode.support, generator)
        return EpisodeMaps(episode, support, self.loader.train(episode.query, generator))

    def learn(self, number: int, data: EpisodeMaps, watch: Stopwatch) -> Learned:
        """See :meth:`Task.learn`."""
        episode, shot = data.episode, self.settings.shot
        with watch("forward"), seeded(self.settings.seed, number, device=self.device):
            support, query = self.head.embed_episode(data.support, data.query, shot)
            distances = self.head.compare(support, query, shot)
            terms = self.head.losses(
                distances,
                torch.from_numpy(episode.query_labels).to(self.device),
                support=support,
                query=query,
                support_classes=self._base_class[episode.support].to(self.device),
                query_classes=self._base_class[episode.query].to(self.device),
            )
        values = add_gradients(terms, number, watch)
        with watch("backward"):  # a GPU is only done with it when the accuracy is asked for
            share = accuracy(distances.detach(), episode.query_labels)
        return Learned(values, len(episode.query), share)


class BaseClassTask(_HeadTask):
    """A cosine classifier over the base classes on what a head makes of one clip, in batches as large as an episode.

    Args:
        cache: the store.
        settings: of the run.
        device: where the head runs.
        place: where the maps are kept.
        scratch: where validation puts what does not fit in memory.

    Raises:
        InputError: as for :class:`EpisodicTask`, or the head has no vector of a single clip.
    """

    def __init__(
        self, cache: FeatureCache, settings: Settings, device: torch.device, place: str, scratch: Scratch | None = None
    ) -> None:
        super().__init__(cache, settings, device, place, scratch)
        with seeded(settings.seed, 0, device=device):
            self.classifier = BaseClassifier(self.head, cache.labels("train"))
        self.modules["classifier"] = self.classifier
        self.modules.to(device)

    def read(self, number: int) -> tuple[Tensor, NDArray[np.int64]]:
        """(B, C, T, H, W) maps of a batch, and the number of each clip's class among the base classes."""
        generator = generator_of(self.settings, number)
        rows = self.classifier.draw(self.settings.way * (self.settings.shot + self.settings.queries), generator)
        return self.loader.train(rows, generator), self.classifier.labels(rows)

    def learn(self, number: int, data: tuple[Tensor, NDArray[np.int64]], watch: Stopwatch) -> Learned:
        """See :meth:`Task.learn`."""
        maps, labels = data
        with watch("forward"), seeded(self.settings.seed, number, device=self.device):
            logits = self.classifier(cast(ClipEmbedder, self.head).embed_clip(maps))
            loss = self.classifier.loss(logits, torch.from_numpy(labels).to(self.device))
        values = add_gradients({"base": loss}, number, watch)
        with watch("backward"):
            share = accuracy(-logits.detach(), labels)
        return Learned(values, len(labels), share)


def task_of(
    cache: FeatureCache, settings: Settings, device: torch.device, place: str, scratch: Scratch | None = None
) -> Task:
    """The task of a run's objective."""
    kind = BaseClassTask if settings.objective == "base" else EpisodicTask
    return kind(cache, settings, device, place, scratch)


def add_gradients(terms: Mapping[str, Tensor], number: int, watch: Stopwatch) -> dict[str, float]:
    """Backward through the sum of an item's loss terms; their values.

    Raises:
        InputError: a term is not finite.
    """
    with watch("forward"):  # a GPU is only done when its numbers are asked for
        values = {name: term.item() for name, term in terms.items()}
    if not all(math.isfinite(value) for value in values.values()):
        found = ", ".join(f"{name} {value}" for name, value in values.items())
        raise InputError(f"training diverged: the loss of episode {number} is {found}; lower --lr")
    with watch("backward"):
        total = next(iter(terms.values())) if len(terms) == 1 else torch.stack(list(terms.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
    return values


def metadata_of(cache: FeatureCache, settings: Settings, splits: Sequence[str]) -> dict[str, Any]:
    """What a checkpoint says of its head, and of the features and clips that it was trained and selected on."""
    channels, _, size, _ = cache.map_shape
    sizes = {"channels": channels, "frames": settings.frames, "size": size}
    return {
        "head": {"name": settings.method, **sizes, "seed": settings.seed, **settings.options},
        "dataset": cache.manifest.dataset,
        "features": cache.manifest.features(),
        "manifest": cache.manifest.to_dict(),
        "manifest_hash": cache.manifest.hash(),
        "split_hash": cache.videos.hash(),
        "clips": clips_of(cache, splits),
    }
