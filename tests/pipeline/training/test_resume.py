"""A run that is continued: to the same bytes, or to the epoch at which the asked run ends."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from quick_runs import (
    CPU,
    QUICK,
    Descent,
    Scripted,
    as_of_an_older_ta2n,
    files,
    make_cache,
    refusal,
    stopped,
    train,
)

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.training.checkpoint import BEST, LAST, Checkpoint, read_checkpoint, save_checkpoint
from ta2n.pipeline.training.loop import Result, run_task, train_head
from ta2n.pipeline.training.metrics import METRICS
from ta2n.pipeline.training.settings import Progress


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return make_cache(tmp_path_factory.mktemp("c"))


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


VALS = [0.1, 0.5, 0.4, 0.3, 0.6, 0.2]


def scripted(folder: Path, val: list[float] = VALS, **changes: Any) -> Result:
    return run_task(Scripted(val), dataclasses.replace(QUICK, **changes), folder)


@pytest.mark.parametrize("epochs", range(1, 6))
@pytest.mark.parametrize("patience", range(1, 6))
@pytest.mark.parametrize(("longer", "waiting"), [(5, 10), (3, 10), (5, 2)])
def test_less_of_a_longer_run_is_its_own_result_or_refused(
    tmp_path: Path, epochs: int, patience: int, longer: int, waiting: int
) -> None:
    alone = scripted(tmp_path / "alone", epochs=epochs, patience=patience)
    whole = scripted(tmp_path / "run", epochs=longer, patience=waiting)
    kept = files(tmp_path / "run")
    try:
        found = scripted(tmp_path / "run", epochs=epochs, patience=patience)
    except InputError as error:
        assert alone.progress.best_epoch != whole.progress.best_epoch
        text = str(error)
        assert f"--epochs {epochs}" in text
        assert f"epoch {whole.progress.best_epoch}" in text
        assert "\n" not in text
        assert files(tmp_path / "run") == kept
        return
    assert (found.progress, found.stopped_early) == (alone.progress, alone.stopped_early)
    best = [read_checkpoint(tmp_path / name / BEST) for name in ("run", "alone")]
    assert all(torch.equal(best[0].tensors[name], tensor) for name, tensor in best[1].tensors.items())


def test_without_selection_only_the_last_epoch_is_kept(tmp_path: Path, cache: FeatureCache) -> None:
    train(cache, tmp_path, epochs=3, val_episodes=0)
    found = refusal(cache, tmp_path, epochs=2, val_episodes=0)
    assert "a longer run, of 3 epochs" in found
    assert "--epochs 2" in found


def test_weights_that_are_ahead_of_the_checkpoint_are_not_taken_for_those_of_an_earlier_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = save_checkpoint

    def killed(file: Path, checkpoint: Checkpoint) -> None:
        if file.name == LAST and checkpoint.metadata["progress"]["best_epoch"] == 4:
            raise KeyboardInterrupt
        saved(file, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr("ta2n.pipeline.training.loop.save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            scripted(tmp_path / "run", epochs=5)
    with pytest.raises(InputError, match="kept weights are of epoch 4; with --epochs 3"):
        scripted(tmp_path / "run", epochs=3)
    scripted(tmp_path / "run", epochs=5)
    scripted(tmp_path / "whole", epochs=5)
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_a_run_within_an_epoch_gives_the_result_of_the_epoch_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ta2n.pipeline.training.loop._SAVE_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        run_task(Scripted(VALS), dataclasses.replace(QUICK, epochs=5), tmp_path, on_item=stopped(17))
    assert read_checkpoint(tmp_path / LAST).metadata["progress"]["episode"] == 16
    assert scripted(tmp_path, epochs=2).progress.episode == 12


DAMAGES: dict[str, Callable[[str], str]] = {
    "cut in a line": lambda text: text[: len(text) // 2],
    "emptied": lambda text: "",
    "its first line missing": lambda text: "".join(text.splitlines(keepends=True)[1:]),
    "an epoch of another number": lambda text: text.replace('"epoch": 2', '"epoch": 9'),
    "twice itself": lambda text: text + text,
}


@pytest.mark.parametrize("damage", [*DAMAGES, "deleted"])
def test_lost_lines_of_the_metrics_are_written_again(cache: FeatureCache, tmp_path: Path, damage: str) -> None:
    train(cache, tmp_path / "whole", epochs=3)
    train(cache, tmp_path / "run", epochs=2)
    file = tmp_path / "run" / METRICS
    text = file.read_text()
    file.unlink()
    if damage != "deleted":
        file.write_text(DAMAGES[damage](text))
    notes: list[str] = []
    train(cache, tmp_path / "run", epochs=3, on_note=notes.append)
    assert file.read_bytes() == (tmp_path / "whole" / METRICS).read_bytes()
    # What is behind the lines of the run is no loss: a kill may leave a line too many.
    assert any("lacked lines" in line for line in notes) == (damage != "twice itself")


def test_lost_lines_of_an_older_run_are_named(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path, epochs=3)
    for name in (BEST, LAST):
        as_of_an_older_ta2n(tmp_path / name, "progress.history")
    file = tmp_path / METRICS
    lines = file.read_text().splitlines(keepends=True)
    whole = "".join(lines)
    for text, lost in (
        (lines[0] + lines[3], "1, 2"),
        ("".join(lines[:3]) + lines[3][:20], "3"),
        (whole.replace('"val_accuracy": ', '"val_accuracy": 1'), "0, 1, 2, 3"),
        ("", "0, 1, 2, 3"),
    ):
        file.write_text(text)
        assert f"are missing or are another run's: {lost};" in refusal(cache, tmp_path, epochs=4)
    file.write_text(lines[2] + lines[0] + "not json\n" + lines[3] + lines[1])
    train(cache, tmp_path, epochs=4)
    epochs = [json.loads(line)["epoch"] for line in file.read_text().splitlines()]
    assert epochs == [0, 1, 2, 3, 4]


def test_a_folder_without_its_best_weights_is_not_called_finished(cache: FeatureCache, tmp_path: Path) -> None:
    train(cache, tmp_path, epochs=1)
    (tmp_path / BEST).unlink()
    assert "has no best.safetensors" in refusal(cache, tmp_path, epochs=1)


def test_a_checkpoint_of_another_optimiser_or_module_does_not_fit(tmp_path: Path) -> None:
    run_task(Descent(), dataclasses.replace(QUICK, epochs=1), tmp_path)
    stored = read_checkpoint(tmp_path / LAST)
    name = "optimizer.0.exp_avg"
    for tensors, message in (
        ({**stored.tensors, name: torch.zeros(3)}, r"'optimizer.0.exp_avg' is \(3,\), expected \(1, 1\)"),
        ({**stored.tensors, "optimizer.7.exp_avg": torch.zeros(1, 1)}, "'optimizer.7.exp_avg' is of no parameter"),
        ({**stored.tensors, "optimizer.x": torch.zeros(1, 1)}, "'optimizer.x' is of no parameter"),
        ({key: one for key, one in stored.tensors.items() if key != "point.weight"}, "'point.weight' is missing"),
    ):
        save_checkpoint(tmp_path / LAST, Checkpoint(tensors, stored.metadata))
        with pytest.raises(InputError, match=message):
            run_task(Descent(), dataclasses.replace(QUICK, epochs=2), tmp_path)
