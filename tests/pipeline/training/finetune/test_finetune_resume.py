"""A fine-tuning run that is stopped and continued, and what is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_tuning
from quick_runs import files

import ta2n
from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.commands.reporting import Step
from ta2n.pipeline.training.checkpoint import BEST, load_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny_tuning.registered():
        yield tiny_tuning.made(tmp_path_factory.mktemp("tuning"))


def killed(item: int) -> Callable[[Step], None]:
    def stop(step: Step) -> None:
        if step.done == item:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize(
    ("changes", "stop"),
    [({}, 3), ({"bn": "clip", "grad_clips": 2}, 5), ({"accumulate": 2, "optimizer": "sgd", "augment": False}, 4)],
)
def test_a_stopped_run_continues_to_the_same_bytes(
    folder: Path, tmp_path: Path, changes: dict[str, Any], stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every optimiser step is kept, so that continuing in the middle of an epoch is tried too.
    monkeypatch.setattr("ta2n.pipeline.training.loop._SAVE_SECONDS", -1.0)
    fast = {"lr": 1e-2, "lr_backbone": 1e-2, **changes}
    tiny_tuning.tune(folder, tmp_path / "whole" / "run", **fast)
    with pytest.raises(KeyboardInterrupt):
        tiny_tuning.tune(folder, tmp_path / "broken" / "run", on_progress=killed(stop), **fast)
    steps: list[Step] = []
    tiny_tuning.tune(folder, tmp_path / "broken" / "run", on_progress=steps.append, **fast)
    assert 1 < steps[0].done <= stop + 1
    assert files(tmp_path / "broken" / "run") == files(tmp_path / "whole" / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr_backbone": 2e-4}, "learning_rate_backbone 0.0001 -> 0.0002"),
        ({"trainable": "all"}, "trainable second -> all"),
        ({"bn": "clip"}, "batch_norm frozen -> clip"),
        ({"method": "protonet", "options": {"project": 4}, "way": 2, "queries": 1}, "start: "),
    ],
)
def test_another_run_is_not_continued(folder: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    tiny_tuning.tune(folder, tmp_path / "run", epochs=1)
    before = files(tmp_path / "run")
    with pytest.raises(InputError, match="holds another run") as caught:
        tiny_tuning.tune(folder, tmp_path / "run", epochs=1, **changes)
    assert message in str(caught.value)
    assert files(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"checkpoint": None}, InputError, "give either --checkpoint"),
        ({"checkpoint": "HEAD", "method": "protonet"}, InputError, "give either --checkpoint"),
        ({"checkpoint": "HEAD", "options": {"project": 4}}, InputError, "--option makes the head of --method"),
        ({"checkpoint": "nowhere"}, MissingError, "no checkpoint there"),
        ({"method": "abc"}, InputError, "no method named 'abc'"),
        ({"method": "ta2n", "options": {"tc": 3}}, InputError, "--option tc=3: expected true or false"),
        ({"trainable": "layer4"}, InputError, "tiny has no such stage; give all, one of first, second"),
        ({"grad_clips": 5}, InputError, "--grad-clips 5: an episode has 4 clips"),
        ({"bn": "batch"}, InputError, "batch norm 'batch' is not known; choose frozen or clip"),
        ({"precision": "float16"}, InputError, "precision 'float16' is not known; choose float32"),
        ({"augment": False, "flip": True}, InputError, "--flip mirrors random views, and --no-augment has none"),
        ({"frames": 2}, InputError, "--frames 2: the checkpoint's head takes 4"),
        ({"patience": 2, "val_episodes": 0}, InputError, "--patience waits for a better val accuracy"),
        ({"lr": -1.0}, InputError, "learning rate is -1.0"),
        ({"episode": 1}, InputError, "no option 'episode'; did you mean 'episodes'"),
        ({"way": 4}, InputError, "cannot give a 4-way 1-shot episode"),
        ({"root": "nowhere"}, MissingError, "nowhere: the clips of"),
        ({"weights": "none.pth"}, MissingError, "none.pth"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    folder: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    if changes.get("checkpoint") == "HEAD":
        changes = {**changes, "checkpoint": folder / "head"}
    with pytest.raises(error, match=message) as caught:
        tiny_tuning.tune(folder, tmp_path / "run", **changes)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_head_of_a_method_starts_untrained(folder: Path, tmp_path: Path) -> None:
    run = tiny_tuning.tune(
        folder, tmp_path / "run", method="otam", options={"project": 3}, way=2, shot=2, queries=1, seed=3
    )
    stored = load_checkpoint(run.folder)
    assert stored.metadata["start"] == "untrained"
    assert stored.metadata["head"] == {
        "name": "otam", "channels": 8, "frames": 4, "size": 7, "seed": 3, "project": 3
    }  # fmt: skip
    assert (run.folder / BEST).is_file()
    assert stored.metadata["settings"]["shot"] == 2


def test_nothing_is_printed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes: list[str] = []
    run = ta2n.finetune(
        folder / "feats", checkpoint=folder / "head", out=tmp_path / "run", on_note=notes.append, **tiny_tuning.TUNE
    )
    assert [note.partition(":")[0] for note in notes] == ["epoch 0", "epoch 1", "epoch 2"]
    assert set(run.seconds) == {"wait", "gradients", "update"}
    assert capsys.readouterr() == ("", "")
