"""Training runs of a second, for tests of what training keeps and continues."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import safetensors
import tiny_cache
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.evaluation.metrics import Estimate, estimate
from ta2n.pipeline.training.loop import Result, train_head
from ta2n.pipeline.training.settings import Progress, Settings
from ta2n.pipeline.training.tasks import Learned, add_gradients
from ta2n.pipeline.training.timing import Stopwatch

CPU = torch.device("cpu")
SHAPE = (6, 4, 7, 7)

# A projection before ProtoNet: the cheapest head that trains. What the run does is the same for every head.
QUICK = Settings(
    method="protonet",
    options={"project": 4},
    way=3,
    queries=2,
    frames=4,
    epochs=3,
    episodes_per_epoch=6,
    accumulate=4,
    learning_rate=1e-2,
    optimizer="adam",
    val_episodes=10,
)


def make_cache(folder: Path, **changes: Any) -> FeatureCache:
    return FeatureCache.open(
        tiny_cache.write_cache(folder, **{"map_shape": SHAPE, "signal": 0.1, "views": 2, **changes})
    )


def train(cache: FeatureCache, folder: Path, *, on_note: Callable[[str], None] | None = None, **changes: Any) -> Result:
    settings = dataclasses.replace(QUICK, **changes)
    return train_head(cache, settings, folder, device=CPU, on_note=on_note)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def refusal(cache: FeatureCache, folder: Path, **changes: Any) -> str:
    """Why a run is not continued, in one line that changes nothing in its folder."""
    before = files(folder)
    with pytest.raises(InputError) as caught:
        train(cache, folder, **changes)
    assert "\n" not in str(caught.value)
    assert files(folder) == before
    return str(caught.value)


def stopped(episode: int) -> Callable[[Progress], None]:
    """What ends a run like a kill after an item."""

    def stop(progress: Progress) -> None:
        if progress.episode == episode:
            raise KeyboardInterrupt

    return stop


def header(file: Path) -> dict[str, Any]:
    """What a checkpoint's header says, checksum and all."""
    with safetensors.safe_open(file, framework="pt") as stored:
        values: dict[str, Any] = json.loads(stored.metadata()["ta2n"])
        return values


def write_raw(file: Path, tensors: dict[str, Tensor], values: Any) -> None:
    """A checkpoint of any header, as another program may write it."""
    save_file(tensors, file, metadata={"ta2n": json.dumps(values)})


def as_of_an_older_ta2n(file: Path, *missing: str) -> None:
    """Rewrites a checkpoint without its checksum and without some fields of its header, by dotted names."""
    tensors, values = load_file(file), header(file)
    for name in ("sha256", *missing):
        *path, last = name.split(".")
        inner = values
        for part in path:
            inner = inner[part]
        inner.pop(last, None)
    write_raw(file, tensors, values)


class Descent:
    """The least of a task: one number goes to the item's, with noise; val is how near it is to 3."""

    def __init__(self) -> None:
        self.modules = nn.ModuleDict({"point": nn.Linear(1, 1, bias=False)})
        nn.init.zeros_(self.point.weight)
        self.metadata: dict[str, Any] = {"head": {"name": "point"}}

    @property
    def point(self) -> nn.Linear:
        return cast(nn.Linear, self.modules["point"])

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.modules.parameters()), "lr": 0.2}]

    def read(self, number: int) -> Tensor:
        return torch.tensor([[3.0 + (number % 3 - 1)]])

    def learn(self, number: int, data: Tensor, watch: Stopwatch) -> Learned:
        loss = (self.modules["point"](torch.ones(1, 1)) - data).square().sum()
        return Learned(add_gradients({"square": loss}, number, watch), 1, 0.0)

    def validate(self) -> Estimate:
        return estimate(np.array([1 / (1 + abs(3 - self.best()["weight"].item()))] * 2))

    def best(self) -> dict[str, Tensor]:
        return self.point.state_dict()


class Scripted(Descent):
    """A task whose val accuracies are given: what the loop makes of them is all there is to it."""

    def __init__(self, val: list[float]) -> None:
        super().__init__()
        self._val, self._epoch = val, -1

    def learn(self, number: int, data: Tensor, watch: Stopwatch) -> Learned:
        self._epoch = number // QUICK.episodes_per_epoch
        return super().learn(number, data, watch)

    def validate(self) -> Estimate:
        return estimate(np.array([self._val[self._epoch + 1]] * 2))
