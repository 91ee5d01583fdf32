"""Training: it learns, it repeats, it keeps the best and it stops."""

import dataclasses
import json
import time
from pathlib import Path

import pytest
import tiny_cache
import torch
from quick_runs import (
    CPU,
    QUICK,
    SHAPE,
    Scripted,
    files,
    make_cache,
    train,
)

from ta2n.cache_schema.errors import BusyError, InputError
from ta2n.cache_schema.lock import writing
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.cache.loader import MapLoader
from ta2n.pipeline.episodes import Episodes
from ta2n.pipeline.evaluation.evaluate import evaluate
from ta2n.pipeline.training.checkpoint import BEST, LAST, load_checkpoint
from ta2n.pipeline.training.loop import run_task, train_head
from ta2n.pipeline.training.settings import Progress


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return make_cache(tmp_path_factory.mktemp("c"))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(cache: FeatureCache, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    train(cache, tmp_path / "a")
    torch.rand(3)
    train(cache, tmp_path / "b")
    train(cache, tmp_path / "c", seed=1)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a")["metrics.jsonl"] != files(tmp_path / "c")["metrics.jsonl"]
    torch.random.set_rng_state(state)


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


@pytest.mark.parametrize(
    ("val", "patience", "last", "best"),
    [
        ([0.5, 0.4, 0.3, 0.6, 0.6, 0.5], 2, 2, 0),
        ([0.5, 0.4, 0.3, 0.6, 0.6, 0.5], 3, 5, 3),
        ([0.1, 0.2, 0.3, 0.3, 0.3, 0.9], 2, 4, 2),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1, 5, 5),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 1, 1, 0),
    ],
)
def test_patience_is_counted_from_the_first_of_the_best(
    tmp_path: Path, val: list[float], patience: int, last: int, best: int
) -> None:
    settings = dataclasses.replace(QUICK, epochs=5, patience=patience)
    result = run_task(Scripted(val), settings, tmp_path)
    assert result.progress.val == val[: last + 1]
    assert (result.progress.episode, result.progress.best_epoch) == (6 * last, best)
    assert result.stopped_early == (last - best >= patience)
    again = run_task(Scripted(val), settings, tmp_path)
    assert (again.progress, again.stopped_early) == (result.progress, result.stopped_early)


def test_what_a_killed_training_left_half_written_goes_with_the_next_run(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "a", epochs=1)
    whole = files(tmp_path / "a")
    for name in ("best.safetensors", "last.safetensors", "metrics.jsonl"):
        (tmp_path / "a" / f".{name}.partial").write_bytes(b"half")
    (tmp_path / "a" / "notes.partial").write_bytes(b"the user's own")
    train(cache, tmp_path / "a", epochs=1)
    assert files(tmp_path / "a") == {**whole, "notes.partial": b"the user's own"}


def test_a_single_val_episode_has_no_interval_and_the_file_no_infinity(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path / "a", epochs=1, val_episodes=1)
    text = (tmp_path / "a" / "metrics.jsonl").read_text()
    assert [json.loads(line)["val_interval"] for line in text.splitlines()] == [None, None]
    assert "Infinity" not in text


def test_a_second_training_is_refused_while_the_first_one_runs(cache: FeatureCache, tmp_path: Path) -> None:
    refused: list[str] = []

    def second(progress: Progress) -> None:
        if progress.episode == 7:
            with pytest.raises(BusyError) as caught:
                train(cache, tmp_path / "a")
            refused.append(str(caught.value))

    train_head(cache, QUICK, tmp_path / "a", device=CPU, on_episode=second)
    train(cache, tmp_path / "b")
    assert "\n" not in refused[0]
    assert "ta2n train-head (process" in refused[0]
    assert files(tmp_path / "a") == files(tmp_path / "b")
