"""Training: it learns, it repeats, and a killed run ends like one that was not."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tiny_cache
import torch
from torch import Tensor, nn

from ta2n.cache_schema.errors import BusyError, InputError, MissingError
from ta2n.cache_schema.lock import writing
from ta2n.cache_schema.manifest import Manifest
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.evaluation.evaluate import evaluate
from ta2n.pipeline.evaluation.metrics import Estimate, estimate
from ta2n.pipeline.heads import Embedding
from ta2n.pipeline.heads.protonet import ProtoNet
from ta2n.pipeline.training.batches import seeded
from ta2n.pipeline.training.checkpoint import BEST, LAST, Checkpoint, load_checkpoint, save_checkpoint
from ta2n.pipeline.training.loop import Result, run_task, train_head
from ta2n.pipeline.training.settings import Progress, Settings
from ta2n.pipeline.training.tasks import EpisodicTask, Learned, add_gradients
from ta2n.pipeline.training.timing import Stopwatch

CPU = torch.device("cpu")
SHAPE = (6, 4, 7, 7)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    path = tiny_cache.write_cache(tmp_path_factory.mktemp("c"), map_shape=SHAPE, signal=0.1, views=2)
    return FeatureCache.open(path)


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


def train(cache: FeatureCache, folder: Path, **changes: object) -> Result:
    return train_head(cache, dataclasses.replace(QUICK, **changes), folder, device=CPU)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(cache: FeatureCache, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    train(cache, tmp_path / "a")
    torch.rand(3)
    train(cache, tmp_path / "b")
    train(cache, tmp_path / "c", seed=1)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a")["metrics.jsonl"] != files(tmp_path / "c")["metrics.jsonl"]
    torch.random.set_rng_state(state)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("stop_at", [3, 6, 11])
def test_a_stopped_run_continues_to_the_same_bytes(
    cache: FeatureCache, tmp_path: Path, stop_at: int, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every optimiser step is kept, so that continuing in the middle of an epoch is tried too.
    monkeypatch.setattr("ta2n.pipeline.training.loop._SAVE_SECONDS", -1.0)
    train(cache, tmp_path / "whole", optimizer=optimizer)

    def stop(progress: Progress) -> None:
        if progress.episode == stop_at:
            raise KeyboardInterrupt

    settings = dataclasses.replace(QUICK, optimizer=optimizer)
    with pytest.raises(KeyboardInterrupt):
        train_head(cache, settings, tmp_path / "broken", device=CPU, on_episode=stop)
    seen: list[int] = []
    train_head(cache, settings, tmp_path / "broken", device=CPU, on_episode=lambda p: seen.append(p.episode))
    # Steps are after episodes 4, 6, 10, 12, 16, 18: what followed the last of them is done again, no more.
    assert seen[0] == {3: 1, 6: 5, 11: 11}[stop_at]
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_a_kill_between_the_line_of_metrics_and_the_checkpoint(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(cache, tmp_path / "whole")
    from ta2n.pipeline.training import loop as module

    real = save_checkpoint

    def killed(file: Path, checkpoint: object) -> None:
        if file.name == LAST and len((file.parent / "metrics.jsonl").read_text().splitlines()) == 3:
            raise KeyboardInterrupt
        real(file, checkpoint)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            train(cache, tmp_path / "broken")
    train(cache, tmp_path / "broken")
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_a_finished_run_is_left_alone_and_can_be_given_more_epochs(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "a", epochs=2)
    before = files(tmp_path / "a")
    train(cache, tmp_path / "a", epochs=2)
    assert files(tmp_path / "a") == before
    train(cache, tmp_path / "a", epochs=3)
    train(cache, tmp_path / "b", epochs=3)
    assert files(tmp_path / "a")["metrics.jsonl"] == files(tmp_path / "b")["metrics.jsonl"]


def test_another_run_in_the_same_folder_is_refused(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "a", epochs=1)
    with pytest.raises(InputError, match=r"holds another run \(settings: learning_rate 0.01 -> 0.5\)"):
        train(cache, tmp_path / "a", learning_rate=0.5)


def test_the_best_weights_on_val_are_kept(cache: FeatureCache, tmp_path: Path) -> None:
    result = train(cache, tmp_path / "a", epochs=4, learning_rate=0.05)
    lines = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    accuracies = [line["val_accuracy"] for line in lines]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3, 4]
    assert result.progress.best_val == max(accuracies)
    assert accuracies[result.progress.best_epoch] == max(accuracies)
    stored = load_checkpoint(tmp_path / "a")
    head = stored.build()
    val = Episodes(cache.labels("val"), way=3, shot=1, queries=2, seed=0)
    again = evaluate(head, MapLoader(cache, frames=4, device=CPU), val, 10).mean()
    assert again == pytest.approx(max(accuracies))


def test_training_learns(tmp_path: Path) -> None:
    path = tiny_cache.write_cache(tmp_path, map_shape=SHAPE, signal=0.3)
    cache = FeatureCache.open(path)
    settings = dataclasses.replace(QUICK, epochs=4, episodes_per_epoch=40, learning_rate=3e-2)
    train_head(cache, settings, tmp_path / "run", device=CPU)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["train_loss"] < lines[1]["train_loss"] - 0.05
    assert lines[-1]["train_accuracy"] > lines[1]["train_accuracy"]


def test_dropout_is_a_function_of_the_episode(cache: FeatureCache, tmp_path: Path) -> None:
    changes = {"method": "ta2n", "options": {"dropout": 0.5}, "epochs": 1, "episodes_per_epoch": 2, "val_episodes": 0}
    train(cache, tmp_path / "a", **changes)
    torch.rand(3)
    train(cache, tmp_path / "b", **changes)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_patience_ends_a_run(cache: FeatureCache, tmp_path: Path) -> None:
    result = train(cache, tmp_path / "a", epochs=50, learning_rate=1e-12, patience=2)
    assert result.stopped_early
    assert result.progress.episode == 2 * QUICK.episodes_per_epoch


def test_without_val_episodes_the_last_weights_are_kept(cache: FeatureCache, tmp_path: Path) -> None:
    result = train(cache, tmp_path / "a", val_episodes=0, patience=1)
    assert not result.stopped_early
    assert result.progress.best_epoch == 3
    last, best = load_checkpoint(tmp_path / "a" / LAST), load_checkpoint(tmp_path / "a" / BEST)
    assert all(torch.equal(last.tensors[f"head.{name}"], tensor) for name, tensor in best.tensors.items())


def test_a_head_without_parameters_gives_a_checkpoint_at_once(cache: FeatureCache, tmp_path: Path) -> None:
    result = train(cache, tmp_path / "a", method="protonet", options={})
    assert result.progress.episode == 0
    assert load_checkpoint(tmp_path / "a").build().eval()


def test_a_checkpoint_says_how_to_repeat_the_run(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "a", epochs=1)
    about = load_checkpoint(tmp_path / "a").metadata
    assert about["settings"] == {**dataclasses.asdict(QUICK), "epochs": 1}
    assert Manifest.from_dict(about["manifest"], source="a") == cache.manifest
    assert about["manifest_hash"] == cache.manifest.hash()
    assert about["split_hash"] == cache.videos.hash()
    assert set(about["versions"]) == {"ta2n", "torch", "python"}


def test_a_checkpoint_of_an_older_ta2n_can_still_be_used(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "a", epochs=1)
    stored = load_checkpoint(tmp_path / "a")
    older = {name: value for name, value in stored.metadata.items() if name != "manifest"}
    save_checkpoint(tmp_path / BEST, Checkpoint(stored.tensors, older))
    found = load_checkpoint(tmp_path)
    found.require_features(cache.manifest.features(), source=tmp_path, store=cache.path)
    assert all(torch.equal(found.build().state_dict()[name], value) for name, value in stored.tensors.items())


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


class Descent:
    """The least of a task: one number goes to the item's, with noise; val is how near it is to 3."""

    def __init__(self) -> None:
        self.modules = nn.ModuleDict({"point": nn.Linear(1, 1, bias=False)})
        nn.init.zeros_(cast(nn.Linear, self.modules["point"]).weight)
        self.metadata: dict[str, Any] = {"head": {"name": "point"}}

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
        return self.modules["point"].state_dict()


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


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no checkpoint there"):
        load_checkpoint(tmp_path)
    (tmp_path / BEST).write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a ta2n checkpoint"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("accumulate", 0), ("val_episodes", -1), ("optimizer", "lbfgs"), ("learning_rate", 0.0)],
)
def test_settings_that_make_no_run(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name.replace("_", "[_ ]")):
        dataclasses.replace(QUICK, **{name: value})  # type: ignore[arg-type]


def test_too_few_clips_are_said_before_the_first_episode(cache: FeatureCache, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the train split cannot give a 3-way 7-shot .* 7 \+ 2 = 9 usable clips"):
        train(cache, tmp_path / "a", shot=7)
    assert not (tmp_path / "a").exists()


def test_a_run_that_diverges_says_so(cache: FeatureCache, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lower --lr"):
        train(cache, tmp_path / "a", options={"project": 4, "metric": "euclidean"}, optimizer="sgd", learning_rate=1e30)


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


def test_where_the_time_goes_is_reported(cache: FeatureCache, tmp_path: Path) -> None:
    start = time.perf_counter()
    result = train(cache, tmp_path / "run")
    assert set(result.seconds) == {"wait", "forward", "backward", "update"}
    assert sum(result.seconds.values()) < time.perf_counter() - start
    again = train(cache, tmp_path / "run")
    assert again.seconds == {}  # of this call: a finished run spends none


@pytest.mark.parametrize("place", ["ram", "device", "disk"])
def test_where_the_maps_are_kept_changes_nothing(cache: FeatureCache, tmp_path: Path, place: str) -> None:
    train(cache, tmp_path / "a")
    train_head(cache, QUICK, tmp_path / "b", device=CPU, place=place)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_second_training_into_the_same_folder_is_refused(cache: FeatureCache, tmp_path: Path) -> None:
    with writing(tmp_path / "a", "ta2n train-head"), pytest.raises(BusyError, match="is writing there"):
        train(cache, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert train(cache, tmp_path / "a").progress.episode == 18
