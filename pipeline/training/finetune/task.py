"""Backbone and head on episodes of frames: the third task of the training loop."""

import copy
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.episodes import Episode
from ta2n.pipeline.evaluation.evaluate import accuracy, evaluate
from ta2n.pipeline.evaluation.metrics import Estimate, estimate
from ta2n.pipeline.evaluation.scratch import Scratch
from ta2n.pipeline.features.backbones import Backbone, weights_sha256
from ta2n.pipeline.features.plan import BackboneSpec
from ta2n.pipeline.training.batches import episodes_of, seeded
from ta2n.pipeline.training.finetune.batch_norm import hold_statistics, statistics_of_clips
from ta2n.pipeline.training.finetune.frames import ClipFrames
from ta2n.pipeline.training.finetune.maps import tuned_maps
from ta2n.pipeline.training.finetune.network import TunedNetwork
from ta2n.pipeline.training.finetune.settings import FineTuneSettings
from ta2n.pipeline.training.finetune.stages import stages_of, trainable_parameters, usual
from ta2n.pipeline.training.finetune.start import PREFIX, Start
from ta2n.pipeline.training.gradient_cache import episode_backward
from ta2n.pipeline.training.tasks import Learned, metadata_of
from ta2n.pipeline.training.timing import Stopwatch

_HELD = 20_000
"""Val episodes that are looked at for the clips in them; of more, every clip that may occur is embedded."""


class EpisodeFrames(NamedTuple):
    """An episode and its frames: (N·K, T, 3, h, w) and (Q, T, 3, h, w), bytes."""

    episode: Episode
    support: Tensor
    query: Tensor


class FineTuneTask:
    """Backbone and head on episodes of the train split, under the sum of the head's own loss terms.

    Gradients are those of :func:`~ta2n.pipeline.training.gradient_cache.episode_backward`. Validation embeds the test
    view of the val clips with the backbone as it is then, in float16 as a store would hold it.

    Args:
        cache: the store that the run starts from: its clips, splits, classes and preprocessing.
        settings: of the run.
        start: head and backbone; both are trained in place.
        clips: decodes.
        device: where both run.
        scratch: where validation puts what does not fit in memory.
        run: name of the run, which becomes part of its weights' name.
        clips_at_once: clips in one pass of the backbone.

    Raises:
        InputError: a split cannot give the episodes, there is no such stage, or ``grad_clips`` is above the clips of an
            episode.
    """

    def __init__(
        self,
        cache: FeatureCache,
        settings: FineTuneSettings,
        start: Start,
        clips: ClipFrames,
        *,
        device: torch.device,
        scratch: Scratch,
        run: str,
        clips_at_once: int = 1,
    ) -> None:
        require_fit(settings)
        self.cache, self.settings, self.clips, self.device, self.scratch = cache, settings, clips, device, scratch
        self.episodes = episodes_of(cache, settings, "train")
        self.val = episodes_of(cache, settings, "val") if settings.val_episodes else None
        self.head, self.spec, self.run, self.clips_at_once = start.head, start.backbone.spec, run, clips_at_once
        self.network = _learning(start.backbone, settings)
        self.modules = nn.ModuleDict({"backbone": self.network, "head": self.head}).to(device)
        labels = cache.labels("train")
        self._base_class = torch.from_numpy(np.searchsorted(np.unique(labels[labels >= 0]), labels))
        stages = stages_of(Backbone(self.spec, self.network))
        self._network = TunedNetwork(stages, clips.preprocessing, device)
        self.metadata: dict[str, Any] = {
            **metadata_of(cache, settings, ["train", "val"] if self.val else ["train"]),
            "head": dict(start.made),
            "backbone": dataclasses.asdict(self.spec),
            "start": start.origin,
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Head and backbone, each with its learning rate."""
        rates = {"head": self.settings.learning_rate, "backbone": self.settings.learning_rate_backbone}
        groups = []
        for name, rate in rates.items():
            learning = [one for one in self.modules[name].parameters() if one.requires_grad]
            if learning:
                groups.append({"params": learning, "lr": rate, "weight_decay": self.settings.weight_decay})
        return groups

    def read(self, number: int) -> EpisodeFrames:
        """See :meth:`ta2n.pipeline.training.tasks.Task.read`."""
        episode = self.episodes[number]
        rows = np.concatenate([episode.support, episode.query])
        images = self.clips.random(rows, number) if self.settings.augment else self.clips.test(rows)
        frames = torch.stack([torch.from_numpy(one) for one in images]).permute(0, 1, 4, 2, 3)
        return EpisodeFrames(episode, frames[: len(episode.support)], frames[len(episode.support) :])

    def learn(self, number: int, data: EpisodeFrames, watch: Stopwatch) -> Learned:
        """See :meth:`ta2n.pipeline.training.tasks.Task.learn`; forward and backward are one phase, ``gradients``."""
        settings, episode = self.settings, data.episode
        hold_statistics(self.network)
        with watch("gradients"), seeded(settings.seed, number, device=self.device):
            backbone, support, query = self._network.divided(data.support, data.query, self.clips_at_once)
            found = episode_backward(
                backbone,
                self.head,
                support,
                query,
                torch.from_numpy(episode.query_labels),
                settings.shot,
                self.clips_at_once,
                settings.grad_clips,
                np.random.default_rng([settings.seed, number, 2]),
                support_classes=self._base_class[episode.support],
                query_classes=self._base_class[episode.query],
            )
            share = accuracy(found.distances, episode.query_labels)
            return Learned({"loss": found.loss.item()}, len(episode.query), share)

    def validate(self) -> Estimate | None:
        """Accuracy on the val split, of head and backbone as they are now."""
        if self.val is None:
            return None
        count = self.settings.val_episodes
        rows = self.val.rows
        if count <= _HELD:
            drawn = self.val.take(count)
            rows = np.unique(np.concatenate([part for one in drawn for part in (one.support, one.query)]))
        maps = tuned_maps(self.network, self.clips, rows, self.device, self.scratch)
        return estimate(evaluate(self.head, maps, self.val, count, scratch=self.scratch))

    def best(self) -> dict[str, Tensor]:
        """The head's tensors by their names, and the backbone's behind ``backbone.``."""
        of_backbone = {f"{PREFIX}{name}": one for name, one in self.network.state_dict().items()}
        return {**self.head.state_dict(), **of_backbone}

    def of_best(self) -> dict[str, Any]:
        """The backbone as it is now, and the features that it gives: those which the head goes with."""
        spec = self._tuned_spec()
        manifest = dataclasses.replace(
            self.cache.manifest, weights=spec.weights, weights_sha256=spec.weights_sha256, precision="float32"
        )
        return {
            "backbone": dataclasses.asdict(spec),
            "features": manifest.features(),
            "manifest": manifest.to_dict(),
            "manifest_hash": manifest.hash(),
        }

    def _tuned_spec(self) -> BackboneSpec:
        name = f"{self.spec.weights}, fine-tuned ({self.run})"
        return dataclasses.replace(self.spec, weights=name, weights_sha256=weights_sha256(self.network))


def require_fit(settings: FineTuneSettings) -> None:
    """Refuses settings that do not go with each other.

    Raises:
        InputError: names the flags.
    """
    if settings.grad_clips is not None and settings.grad_clips > settings.clips:
        raise InputError(
            f"--grad-clips {settings.grad_clips}: an episode has {settings.clips} clips ({settings.way} classes of "
            f"{settings.shot} + {settings.queries}); give at most as many, or leave it out"
        )


def _learning(backbone: Backbone, settings: FineTuneSettings) -> nn.Module:
    """The network with the part that learns set up; a copy, as batch norm may be another."""
    network = Backbone(backbone.spec, copy.deepcopy(backbone.module).eval())
    trainable_parameters(network, settings.trainable or usual(network))
    if settings.batch_norm == "clip":
        statistics_of_clips(network.module, settings.frames)
    return network.module.to(memory_format=torch.channels_last)
