"""The commands as a person types them: output, exit codes, errors of one line."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shared_data
import tiny_cache
from PIL import Image
from typer.testing import CliRunner, Result

from ta2n.cli.app import app
from ta2n.pipeline.cache import FeatureCache

SHAPE = (6, 4, 7, 7)
TA2N = [sys.executable, "-c", "from ta2n.cli import main; main()"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def process(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*TA2N, *(str(argument) for argument in arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, env=os.environ | (env or {})
    )


@pytest.fixture(scope="module")
def feats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feats")
    tiny_cache.write_cache(folder, map_shape=SHAPE, signal=0.3, failed=(3,))
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of two clips, one of them broken."""
    root = tmp_path_factory.mktemp("clips")
    generator = np.random.default_rng(0)
    for label in ("jump", "run", "sit"):
        for clip in range(2):
            folder = root / label / f"clip {clip}"
            folder.mkdir(parents=True)
            for frame in range(4):
                Image.fromarray(generator.integers(0, 255, (40, 60, 3), np.uint8)).save(folder / f"{frame}.jpg")
    for file in (root / "sit" / "clip 1").iterdir():
        file.write_bytes(b"torn")
    return root


EXTRACT = ("--backbone", "resnet18", "--weights", "random", "--frames", "2", "--workers", "1")


def test_extract_then_look_then_verify(clips: Path, tmp_path: Path) -> None:
    done = run("extract", "--dataset", clips, "--cache", tmp_path, *EXTRACT)
    assert done.exit_code == 0, done.output
    assert "5 clips done, 0 done before, 1 failed" in done.stdout
    assert "sit/clip 1" in done.stdout
    assert "split by seed 0" in done.stderr
    assert "train: 1 classes, 2 clips" in done.stderr
    info = run("cache", "info", tmp_path)
    assert info.exit_code == 0
    assert "resnet18" in info.stdout
    assert "random (seed 0)" in info.stdout
    assert "sit/clip 1" in info.stdout
    verify = run("cache", "verify", tmp_path)
    assert verify.exit_code == 0
    assert verify.stdout.strip() == "5 clips checked, 0 damaged"
    again = run("extract", "--dataset", clips, "--cache", tmp_path, *EXTRACT, "--json")
    assert json.loads(again.stdout) | {"seconds": 0, "bytes": 0} == {
        "store": str(next(tmp_path.glob("*.zarr"))),
        "done": 0,
        "before": 5,
        "failed": [{"id": "sit/clip 1", "reason": json.loads(again.stdout)["failed"][0]["reason"]}],
        "short": 0,
        "compiled": False,
        "seconds": 0,
        "bytes": 0,
    }


def test_a_damaged_store_is_exit_code_1(clips: Path, tmp_path: Path) -> None:
    run("extract", "--dataset", clips, "--cache", tmp_path, *EXTRACT)
    file = next(path for path in tmp_path.rglob("features/c/*/*/*/*/*/*") if path.is_file())
    raw = bytearray(file.read_bytes())
    raw[1000] ^= 1
    file.write_bytes(bytes(raw))
    verify = run("cache", "verify", tmp_path)
    assert verify.exit_code == 1
    assert "5 clips checked, 1 damaged" in verify.stdout


def test_another_backbone_is_refused_with_the_difference(clips: Path, tmp_path: Path) -> None:
    run("extract", "--dataset", clips, "--cache", tmp_path, *EXTRACT)
    other = run("extract", "--dataset", clips, "--cache", tmp_path, *EXTRACT, "--seed", "3")
    assert other.exit_code == 2
    assert "sampling.seed: 0 -> 3" in other.stderr


def test_a_dry_run_writes_nothing(clips: Path, tmp_path: Path) -> None:
    dry = run("extract", "--dataset", clips, "--cache", tmp_path / "feats", *EXTRACT, "--dry-run")
    assert dry.exit_code == 0
    assert "maps of 512×2×7×7 float16" in dry.stderr
    assert not (tmp_path / "feats").exists()


def test_a_split_file_decides(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text('{"train": ["sit"], "val": ["run"], "test": ["jump"]}')
    done = run("extract", "--dataset", clips, "--cache", tmp_path, *EXTRACT, "--split-file", tmp_path / "split.json")
    assert done.exit_code == 0, done.output
    videos = FeatureCache.open(tmp_path).videos
    assert dict(zip(videos.label.tolist(), videos.split.tolist(), strict=True)) == {
        "sit": "train", "run": "val", "jump": "test",
    }  # fmt: skip


def test_nothing_usable_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"")
    done = run("extract", "--dataset", tmp_path / "clips", "--cache", tmp_path, *EXTRACT)
    assert done.exit_code == 1
    assert "a.mp4" in done.stdout
    assert str(tmp_path) not in done.stdout.split("clips done")[0]
    assert "no clip could be used" in done.stderr


TRAIN = ("--way", "3", "--queries", "2", "--epochs", "1", "--episodes", "4", "--val-episodes", "5")


def test_train_then_evaluate_against_a_method(feats: Path, tmp_path: Path) -> None:
    trained = run("train-head", "--cache", feats, "--method", "ta2n", *TRAIN, "--out", tmp_path / "run")
    assert trained.exit_code == 0, trained.output
    assert "best val accuracy" in trained.stdout
    assert "epoch 1: val" in trained.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    chosen = ("--checkpoint", tmp_path / "run", "--against", "protonet", "--test-episodes", "40")
    tested = run("evaluate", "--cache", feats, *chosen, "--json")
    values = json.loads(tested.stdout)
    assert (values["way"], values["shot"], values["episodes"], values["split"]) == (3, 1, 40, "test")
    ours, theirs = values["results"]
    assert theirs["method"] == "protonet"
    assert values["paired_difference"]["mean"] == pytest.approx(ours["accuracy"] - theirs["accuracy"])
    alone = json.loads(
        run(
            "evaluate", "--cache", feats, "--method", "protonet", "--way", "3", "--test-episodes", "40", "--json"
        ).stdout
    )
    assert alone["results"][0]["accuracy"] == theirs["accuracy"]


def test_evaluate_prints_a_table(feats: Path) -> None:
    tested = run("evaluate", "--cache", feats, "--method", "protonet", "--test-episodes", "20", "--against", "ta2n")
    assert tested.exit_code == 0
    assert "toy, test (48 clips): 5-way 1-shot, 20 episodes of 1 queries a class, seed 0" in tested.stdout
    assert "paired difference, first - second:" in tested.stdout
    assert "ta2n (untrained)" in tested.stdout
    assert " ± " in tested.stdout


def test_a_method_without_parameters_can_be_trained_and_tested(feats: Path, tmp_path: Path) -> None:
    trained = run("train-head", "--cache", feats, "--method", "protonet", *TRAIN, "--out", tmp_path / "run")
    assert trained.exit_code == 0, trained.output
    assert "nothing to train" in trained.stdout
    assert run("evaluate", "--cache", feats, "--checkpoint", tmp_path / "run", "--test-episodes", "5").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("extract", "--dataset", "nowhere"), "nowhere"),
        (("train-head", "--cache", "nowhere"), "nowhere: no feature store there"),
        (("train-head", "--method", "abc"), "no method named 'abc'"),
        (("train-head", "--option", "tc"), "expected NAME=VALUE"),
        (("train-head", "--option", "colour=1"), "no option colour"),
        (("train-head", "--protocol", "abc"), "protocol 'abc' is not known; choose one of ta2n-paper"),
        (("train-head", "--way", "30"), "the train split cannot give a 30-way"),
        (("train-head", "--device", "abacus"), "device 'abacus' is not a device"),
        (("train-head", "--device", "cuda:99"), "CUDA devices; use cpu"),
        (("train-head", "--lr", "-1"), "learning rate is -1.0, expected more than 0"),
        (("train-head", "--optimizer", "rms"), "optimizer 'rms' is not known; choose sgd or adam"),
        (("extract", "--dataset", ".", "--compression", "zip"), "compression 'zip' is not known"),
        (("extract", "--dataset", ".", "--deadline", "0"), "deadline is 0.0, expected more than 0"),
        (("evaluate",), "give either --checkpoint RUN or --method NAME"),
        (("evaluate", "--method", "protonet", "--split", "dev"), "no clip belongs to split 'dev'"),
        (("evaluate", "--method", "protonet", "--shot", "9"), "the test split cannot give a 5-way 9-shot"),
        (("evaluate", "--checkpoint", "nowhere"), "no checkpoint there"),
        (("cache", "info", "nowhere"), "no feature store there"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(feats: Path, arguments: tuple[str, ...], message: str) -> None:
    needs_cache = arguments[0] in ("train-head", "evaluate") and "--cache" not in arguments
    result = run(*arguments, *(("--cache", feats) if needs_cache else ()))
    assert result.exit_code == 2
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in result.stderr


def test_a_checkpoint_of_other_features_is_refused(feats: Path, tmp_path: Path) -> None:
    run("train-head", "--cache", feats, "--method", "protonet", *TRAIN, "--out", tmp_path / "run")
    other = tiny_cache.write_cache(tmp_path / "other", map_shape=SHAPE)
    attributes = json.loads((other / "zarr.json").read_text())
    attributes["attributes"]["ta2n"]["backbone"] = "resnet50"
    (other / "zarr.json").write_text(json.dumps(attributes))
    result = run("evaluate", "--cache", other, "--checkpoint", tmp_path / "run")
    assert result.exit_code == 2
    assert "was trained on other features" in result.stderr
    assert "backbone: toy -> resnet50" in result.stderr


def test_every_command_has_help_with_an_example() -> None:
    for command in (["extract"], ["train-head"], ["evaluate"], ["demo"], ["cache", "info"], ["cache", "verify"]):
        shown = run(*command, "--help")
        assert shown.exit_code == 0
        assert f"Example: ta2n {' '.join(command)}" in " ".join(shown.stdout.split())


def test_the_process_shows_a_traceback_only_with_debug(tmp_path: Path) -> None:
    plain = process("cache", "info", tmp_path / "none")
    assert (plain.returncode, plain.stdout) == (2, "")
    assert "Traceback" not in plain.stderr
    assert plain.stderr.count("\n") == 1
    debug = process("cache", "info", tmp_path / "none", "--debug")
    assert debug.returncode == 2
    assert "Traceback" in debug.stderr


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['ta2n', '--help']\nfrom ta2n.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    )
    code += "print('HEAVY', {'torch', 'zarr', 'decord', 'dask', 'numpy'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert "HEAVY set()" in shown.stdout
    assert process("--version").stdout.startswith("ta2n 0.")


def test_a_killed_training_process_continues(feats: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = [
        "train-head",
        "--cache",
        feats,
        "--method",
        "protonet",
        "--project",
        "4",
        "--way",
        "3",
    ]
    arguments += ["--queries", "2", "--epochs", "4", "--episodes", "40", "--val-episodes", "20"]
    whole = process(*arguments, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    command = [*TA2N, *(str(argument) for argument in arguments), "--out", str(tmp_path / "killed")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as child:
        assert child.stderr
        assert any(line.startswith("epoch 2") for line in child.stderr)
        child.kill()
    again = process(*arguments, "--out", tmp_path / "killed")
    assert again.returncode == 0, again.stderr
    for name in ("metrics.jsonl", "best.safetensors", "last.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@shared_data.needs_shared
def test_the_main_job_on_real_clips(tmp_path: Path) -> None:
    """Extract, train and evaluate on real frame folders, as processes."""
    source = shared_data.DATA / "ssv2_mini"
    for clip in sorted(source.glob("*/*/*")):
        if int(clip.parent.name[-1]) < 3:
            (tmp_path / "clips" / clip.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            if len(list((tmp_path / "clips" / clip.relative_to(source)).parent.iterdir())) < 4:
                (tmp_path / "clips" / clip.relative_to(source)).symlink_to(clip)
    extracted = process(
        "extract", "--dataset", tmp_path / "clips", "--cache", tmp_path / "feats", "--backbone", "efficientnet-lite0",
        "--frames", "4", "--no-flip", "--json",
    )  # fmt: skip
    assert extracted.returncode == 0, extracted.stderr
    assert json.loads(extracted.stdout)["done"] == 3 * 3 * 4
    trained = process(
        "train-head", "--cache", tmp_path / "feats", "--project", "16", "--way", "3", "--queries", "2", "--epochs", "1",
        "--episodes", "4", "--val-episodes", "5", "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    tested = process(
        "evaluate", "--cache", tmp_path / "feats", "--checkpoint", tmp_path / "run", "--test-episodes", "100", "--json"
    )
    assert tested.returncode == 0, tested.stderr
    accuracy = json.loads(tested.stdout)["results"][0]["accuracy"]
    assert 0.2 < accuracy < 1


def test_several_methods_are_trained_and_set_side_by_side(feats: Path, tmp_path: Path) -> None:
    short = ("--way", "3", "--queries", "2", "--epochs", "1", "--episodes", "4", "--test-episodes", "20")
    flags = ("--out", tmp_path, "--method", "sc,protonet", "--shot", "1,2")
    arguments = ("train-head", "--cache", feats, *flags, *short)
    planned = run(*arguments, "--dry-run")
    assert planned.exit_code == 0
    assert planned.stderr.count("method=") == 4
    assert not list(tmp_path.iterdir())
    made = run(*arguments)
    assert made.exit_code == 0, made.output
    assert "MACs" in made.stdout
    assert "…" not in made.stdout
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"} == {
        f"{name}-{k}shot" for name in ("protonet", "sc") for k in (1, 2)
    }
    again = run(*arguments, "--csv")
    rows = list(csv.DictReader(io.StringIO(again.stdout)))
    assert [(row["method"], row["shot"]) for row in rows] == [
        ("protonet", "1"), ("sc", "1"), ("protonet", "2"), ("sc", "2"),
    ]  # fmt: skip
    assert rows[0]["against_protonet"] == ""
    assert float(rows[1]["macs"]) > float(rows[0]["macs"]) > 0
    assert json.loads(run(*arguments, "--json").stdout)["toy"][1]["accuracy"] == float(rows[1]["accuracy"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "sc,otam", "--option", "tc=false"), "--option belongs to one method"),
        (("--method", "sc,sc"), "asked for 2 times"),
        (("--shot", "1,one"), "expected whole numbers"),
        (("--shot", "0"), "at least 1"),
        (("--csv",), "use --json for a single run"),
        (("--method", "protonet,otam", "--csv", "--json", "--dry-run"), "give one of them"),
    ],
)
def test_lists_that_make_no_sense(feats: Path, arguments: tuple[str, ...], message: str) -> None:
    made = run("train-head", "--cache", feats, *arguments)
    assert made.exit_code == 2
    assert message in made.stderr
