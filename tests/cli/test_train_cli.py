"""``ta2n train-head`` as a person types it: what is refused, what is noted, and runs that are there already."""

import json
from pathlib import Path

import pytest
import tiny_cache
from typer.testing import CliRunner, Result

from ta2n.cache_schema.lock import writing
from ta2n.cli.app import app
from ta2n.pipeline.evaluation import embeddings, scratch

SHORT = ("--device", "cpu", "--way", "2", "--queries", "1", "--episodes", "2", "--val-episodes", "3", "--project", "4")


@pytest.fixture(scope="module")
def feats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feats")
    tiny_cache.write_cache(folder, map_shape=(6, 4, 7, 7), signal=0.3)
    return folder


def train(feats: Path, out: Path, *flags: str, method: str = "protonet") -> Result:
    arguments = ["train-head", "--cache", str(feats), "--out", str(out), "--method", method, *SHORT, *flags]
    return CliRunner().invoke(app, arguments)


def error(result: Result) -> str:
    """The one line that a refused call says."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.mark.parametrize("method", ["protonet", "protonet,otam"])
def test_a_second_training_into_a_folder_is_one_line(feats: Path, tmp_path: Path, method: str) -> None:
    flags = ("--test-episodes", "3") if "," in method else ()
    with writing(tmp_path / "run", "ta2n train-head"):
        assert "run: ta2n train-head (process" in error(train(feats, tmp_path / "run", *flags, method=method))
    assert not (tmp_path / "run").exists()


def test_one_of_several_that_another_process_trains_is_said_in_one_line(feats: Path, tmp_path: Path) -> None:
    with writing(tmp_path / "run" / "otam-1shot", "ta2n train-head"):
        found = train(feats, tmp_path / "run", "--test-episodes", "3", "--shot", "1", method="protonet,otam")
    assert found.exit_code == 0
    assert [line for line in found.output.splitlines() if "otam-1shot: ta2n train-head (process" in line]
    assert not (tmp_path / "run" / "otam-1shot").exists()


def test_fewer_epochs_than_a_folder_holds_are_refused_or_answered(feats: Path, tmp_path: Path) -> None:
    assert train(feats, tmp_path, "--epochs", "3", "--val-episodes", "0").exit_code == 0
    found = error(train(feats, tmp_path, "--epochs", "2", "--val-episodes", "0"))
    assert "a longer run, of 3 epochs" in found
    assert "--epochs 2" in found
    again = train(feats, tmp_path, "--epochs", "3", "--val-episodes", "0", "--json")
    assert json.loads(again.stdout)["episodes"] == 6


@pytest.mark.parametrize("command", ["train-head", "evaluate", "table"])
def test_a_scratch_folder_that_is_not_there_is_refused_before_anything(
    feats: Path, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--method", "protonet"] if command == "evaluate" else ["--dry-run"]
    found = CliRunner().invoke(app, [command, "--cache", str(feats), "--device", "cpu", "--scratch", "no", *flags])
    assert "--scratch no: not a folder that can be written to" in error(found)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("asked", [True, False])
def test_what_does_not_fit_in_memory_goes_to_the_scratch_folder(
    feats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    used: list[Path] = []
    made = scratch.Scratch.empty

    def watched(self: scratch.Scratch, *arguments: object) -> object:
        used.append(self.folder)
        return made(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scratch.Scratch, "empty", watched)
    monkeypatch.setattr(embeddings, "free_bytes", lambda device: 0)
    monkeypatch.setattr(scratch, "is_memory", lambda folder: folder.name == "other")
    (tmp_path / "other").mkdir()
    flags = ("--scratch", str(tmp_path / "other")) if asked else ()
    result = train(feats, tmp_path / "run", "--epochs", "1", *flags)
    assert set(used) == {tmp_path / "other" if asked else tmp_path}
    assert result.exit_code == 0
    assert result.stderr.count("other is a memory file system") == asked
    used.clear()
    tested = ("evaluate", "--cache", str(feats), "--checkpoint", str(tmp_path / "run"), "--device", "cpu", *flags)
    assert CliRunner().invoke(app, [*tested, "--test-episodes", "3"]).exit_code == 0
    assert set(used) == {tmp_path / "other" if asked else feats}
    assert list((tmp_path / "other").iterdir()) == []
