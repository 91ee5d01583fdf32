"""What training does at a step: the loss's terms, the draws, and tasks of other kinds."""

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from quick_runs import (
    CPU,
    QUICK,
    Descent,
    files,
    make_cache,
    stopped,
    train,
)
from torch import Tensor, nn

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.heads import Embedding
from ta2n.pipeline.heads.protonet import ProtoNet
from ta2n.pipeline.training.batches import seeded
from ta2n.pipeline.training.loop import run_task
from ta2n.pipeline.training.settings import Progress
from ta2n.pipeline.training.tasks import EpisodicTask, Learned
from ta2n.pipeline.training.timing import Stopwatch


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return make_cache(tmp_path_factory.mktemp("c"))


def test_dropout_is_a_function_of_the_episode(cache: FeatureCache, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"method": "ta2n", "options": {"dropout": 0.5}, "epochs": 1, "val_episodes": 0}
    changes |= {"episodes_per_epoch": 2}
    train(cache, tmp_path / "a", **changes)
    torch.rand(3)
    train(cache, tmp_path / "b", **changes)
    assert files(tmp_path / "a") == files(tmp_path / "b")


class WithAnAuxiliaryTerm(ProtoNet):
    """A head whose loss has a second term, of the base classes of its clips."""

    def __init__(self) -> None:
        super().__init__(6, frames=4, size=7)
        self.weight = nn.Parameter(torch.ones(6))
        self.seen: list[tuple[list[int], list[int]]] = []

    def compare(self, support: Embedding, query: Embedding, shot: int = 1) -> Tensor:
        return super().compare(support, {"mean": query["mean"] * self.weight}, shot)

    def losses(self, distances: Tensor, labels: Tensor, **parts: Any) -> dict[str, Tensor]:
        self.seen.append((parts["support_classes"].tolist(), parts["query_classes"].tolist()))
        return {**super().losses(distances, labels, **parts), "small": 3.0 * self.weight.square().sum()}


def test_every_term_of_a_loss_is_trained_on_and_written_down(cache: FeatureCache, tmp_path: Path) -> None:
    settings = dataclasses.replace(QUICK, options={}, epochs=1, optimizer="sgd", val_episodes=0)
    task = EpisodicTask(cache, settings, CPU, "disk")
    task.head = head = WithAnAuxiliaryTerm()
    task.modules["head"] = head
    watch = Stopwatch()
    data = task.read(0)
    learned = task.learn(0, data, watch)
    gradient = torch.zeros(6) if head.weight.grad is None else head.weight.grad.clone()
    episodic = ProtoNet.losses(
        head, head(data.support, data.query), torch.from_numpy(data.episode.query_labels), support={}, query={}
    )
    (own,) = torch.autograd.grad(episodic["episodic"], head.weight)
    torch.testing.assert_close(gradient, own + 6.0)  # the derivative of 3·w² at 1
    assert learned.terms == {"episodic": pytest.approx(episodic["episodic"].item()), "small": 18.0}
    labels = cache.labels("train")
    classes = np.unique(labels[labels >= 0]).tolist()
    support, query = head.seen[0]
    assert [classes[number] for number in support] == labels[data.episode.support].tolist()
    assert [classes[number] for number in query] == labels[data.episode.query].tolist()
    head.zero_grad()
    run_task(task, settings, tmp_path)
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["train_loss"] == pytest.approx(last["train_loss_episodic"] + last["train_loss_small"])


def test_another_task_goes_through_the_same_loop_and_resumes_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ta2n.pipeline.training.loop._SAVE_SECONDS", -1.0)
    settings = dataclasses.replace(QUICK, accumulate=1, epochs=4)
    whole = run_task(Descent(), settings, tmp_path / "whole")
    assert whole.progress.best_val > 0.7
    assert len(whole.progress.val) == 5

    def stop(progress: Progress) -> None:
        if progress.episode == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_task(Descent(), settings, tmp_path / "broken", on_item=stop)
    run_task(Descent(), settings, tmp_path / "broken")
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_seeded_draws_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    with seeded(1, 2, device=CPU):
        first = torch.rand(3)
    with seeded(1, 2, device=CPU):
        again = torch.rand(3)
    with seeded(1, 3, device=CPU):
        other = torch.rand(3)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


class TwoRates(Descent):
    """Two numbers with a learning rate each, whose steps call backward themselves, part by part."""

    def __init__(self, slow: float = 0.01) -> None:
        super().__init__()
        self.modules["slow"] = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.slow.weight)
        self._rate = slow

    @property
    def slow(self) -> nn.Linear:
        return cast(nn.Linear, self.modules["slow"])

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.point.weight], "lr": 0.1}, {"params": [self.slow.weight], "lr": self._rate}]

    def learn(self, number: int, data: Tensor, watch: Stopwatch) -> Learned:
        value = 0.0
        with watch("backward"):
            for part in (self.point, self.slow):
                loss = (part(torch.ones(1, 1)) - data).square().sum()
                torch.autograd.backward(loss)
                value += loss.item()
        return Learned({"square": value}, 1, 0.0)


def test_each_group_is_stepped_at_its_own_rate(tmp_path: Path) -> None:
    task = TwoRates()
    settings = dataclasses.replace(QUICK, accumulate=2, epochs=1, episodes_per_epoch=2, optimizer="sgd")
    run_task(task, settings, tmp_path)
    # From 0 towards 2 and 3: the gradients −4 and −6, over the 2 items of the step.
    assert task.point.weight.item() == pytest.approx(0.1 * 5)
    assert task.slow.weight.item() == pytest.approx(0.01 * 5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("stop_at", [4, 6, 9])
def test_a_task_with_groups_and_its_own_backward_resumes(
    tmp_path: Path, stop_at: int, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ta2n.pipeline.training.loop._SAVE_SECONDS", -1.0)
    settings = dataclasses.replace(QUICK, accumulate=2, optimizer=optimizer)
    run_task(TwoRates(), settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_task(TwoRates(), settings, tmp_path / "broken", on_item=stopped(stop_at))
    run_task(TwoRates(), settings, tmp_path / "broken")
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_a_task_that_decides_more_than_its_settings_says_so_by_name(tmp_path: Path) -> None:
    first, second = Descent(), Descent()
    first.metadata |= {"trainable": {"layers": ["layer4"], "rate": 0.1}}
    second.metadata |= {"trainable": {"layers": ("layer4",), "rate": 0.2}}
    run_task(first, QUICK, tmp_path)
    with pytest.raises(InputError, match=r"holds another run \(trainable: rate 0.1 -> 0.2\)"):
        run_task(second, QUICK, tmp_path)
