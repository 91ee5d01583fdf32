"""Named data sets as a person types them: the doctor, and extraction from copies with holes."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import shared_data
from dataset_trees import SPLIT_LISTS, listed, plant, usual_path, without_time
from typer.testing import CliRunner, Result

from ta2n.cli.app import app
from ta2n.pipeline.cache import FeatureCache
from ta2n.pipeline.datasets import fetch
from ta2n.pipeline.datasets.lists import Listed
from ta2n.pipeline.datasets.published import PUBLISHED

UCF101_MINI, SSV2_MINI = shared_data.DATA / "ucf101_mini", shared_data.DATA / "ssv2_mini"
EXTRACT = ("--backbone", "resnet18", "--weights", "random", "--frames", "2", "--workers", "1", "--views", "2")


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, no lists of the person who runs the tests, no data set of theirs."""

    def refuse(*_: object) -> None:
        raise ConnectionError("the network is unreachable")

    monkeypatch.setattr(fetch, "_fetch", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TA2N_DATA", raising=False)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_lists(folder: Path, videos: Iterable[Listed]) -> Path:
    """The lists of a few videos."""
    folder.mkdir()
    for video in videos:
        with (folder / f"{video.split}list03.txt").open("a", encoding="utf-8") as file:
            file.write(f"{video.id}\n")
    return folder


@shared_data.needs_shared
def test_the_doctor_on_the_names_of_real_clips(tmp_path: Path) -> None:
    check = ("dataset", "check", "ucf101", "--root", UCF101_MINI, "--splits", SPLIT_LISTS)
    shown = run(*check, "--shot", "1", "--decode", "2", "--report", tmp_path / "report.json")
    assert shown.exit_code == 1
    assert "90" in shown.stdout
    assert "NOT possible" in shown.stdout
    assert shown.stdout.count("  same: ") == 2
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["ok"] is False
    assert [(one["split"], one["found"], one["possible"]) for one in report["splits"]] == [
        ("train", 90, True), ("val", 0, False), ("test", 5, False),
    ]  # fmt: skip
    counted = {one["label"]: one["found"] for one in report["classes"] if one["found"]}
    assert counted == {folder.name: len(list(folder.iterdir())) for folder in UCF101_MINI.iterdir()}
    assert len(report["missing"]) == 13_320 - 95
    assert report["rules"] == {"path": 95}
    again = json.loads(run(*check, "--shot", "1", "--decode", "2", "--json").stdout)
    assert again == report


@shared_data.needs_shared
def test_missing_clips_are_no_failure_while_episodes_are_possible(tmp_path: Path) -> None:
    paths = [usual_path("hmdb51", video) for video in listed("hmdb51")]
    plant(tmp_path, (path for place, path in enumerate(paths) if place % 4))
    shown = run("dataset", "check", "hmdb51", "--root", tmp_path, "--splits", SPLIT_LISTS / "hmdb_ARN")
    assert shown.exit_code == 0
    assert "missing (1692):" in shown.stdout
    assert "and 1682 more: --report FILE has them all" in shown.stdout
    assert "51 classes are not whole, the first 10" in shown.stdout
    poor = run("dataset", "check", "hmdb51", "--root", tmp_path, "--splits", SPLIT_LISTS, "--shot", "2000")
    assert poor.exit_code == 1


@shared_data.needs_shared
def test_fetched_lists_and_the_folder_of_all_data_sets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(
        tmp_path, (f"data/Kinetics-400/{without_time(usual_path('kinetics-cmn', v))}" for v in listed("kinetics-cmn"))
    )
    monkeypatch.setenv("TA2N_DATA", str(tmp_path / "data"))
    offline = run("dataset", "check", "kinetics-cmn")
    assert offline.exit_code == 2
    assert "cannot be fetched (the network is unreachable)" in offline.stderr.replace("\n", " ")
    assert "--splits" in offline.stderr
    shutil.copytree(SPLIT_LISTS / "kinetics_CMN", tmp_path / "cache" / "ta2n" / "splits" / "kinetics_CMN")
    shown = run("dataset", "check", "kinetics-cmn", "--json")
    assert shown.exit_code == 0
    values = json.loads(shown.stdout)
    assert values["root"] == str(tmp_path / "data" / "Kinetics-400")
    assert values["rules"] == {"without the time in the name": 9984}
    assert shown.stderr == ""


def test_a_folder_can_be_checked_too(tmp_path: Path) -> None:
    plant(
        tmp_path,
        [f"clips/{split}/{split}{c}/{n}.avi" for split in ("train", "val", "test") for c in "ab" for n in "12"],
    )
    plant(tmp_path, ["clips/test/testb/3.avi"], b"")
    check = ("dataset", "check", tmp_path / "clips", "--way", "2", "--shot", "1")
    shown = run(*check)
    assert shown.exit_code == 0
    assert "test/testb/3.avi: the file is empty" in shown.stdout
    assert run(*check, "--queries", "2").exit_code == 1
    broken = run(*check, "--decode", "3", "--seed", "1", "--json")
    assert broken.exit_code == 1
    assert [one["result"] for one in json.loads(broken.stdout)["decoded"]] == ["failed"] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dataset", "check", "ucf101"), "where are the clips of ucf101? Give --root FOLDER, or set TA2N_DATA"),
        (("dataset", "check", "ucf101", "--root", "nowhere"), "nowhere: there is no such folder; give --root"),
        (("dataset", "check", "ucf1001"), "ucf1001: there is no such folder, and no data set of this name"),
        (("dataset", "check", "{tmp}", "--root", "{tmp}"), "is none of them and taken for a folder"),
        (("dataset", "check", "ucf101", "--root", "{tmp}", "--splits", "{tmp}"), "no split lists of ucf101 in"),
        (("dataset", "check", "ucf101", "--root", "{tmp}", "--split-file", "x"), "--split-file goes with a folder"),
        (("dataset", "check", "ucf101", "--root", "{tmp}/two"), "several folders could hold ucf101 (UCF-101, ucf101)"),
        (("dataset", "check", "hmdb51", "--root", "{tmp}/two"), "holds UCF-101, ucf101, but no folder of hmdb51"),
        (("extract", "--dataset", "ssv2-cmn", "--root", "{tmp}", "--flip"), "--flip: ssv2-cmn has classes that differ"),
        (("extract", "--dataset", "ucf101", "--splits", "{tmp}"), "where are the clips of ucf101?"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    for name in ("two/UCF-101", "two/ucf101"):
        (tmp_path / name).mkdir(parents=True)
    shown = run(*(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    assert shown.exit_code == 2
    assert shown.stdout == ""
    assert message in shown.stderr.replace("\n", " ")
    assert shown.stderr.startswith("error: ")


def test_help_has_an_example() -> None:
    assert "Example: ta2n dataset check" in " ".join(run("dataset", "check", "--help").stdout.split())


def chosen(name: str) -> list[Listed]:
    """Two videos of each split, those with odd names first."""
    odd = sorted(listed(name), key=lambda video: (video.name.isalnum(), not set(video.name) & set("#&;()!"), video.id))
    if name == "ucf101":
        odd = [video for video in odd if (UCF101_MINI / usual_path(name, video)).exists()]
    if name == "kinetics-cmn":
        odd = [video for video in odd if video.name.startswith("-")]
    return [video for split in ("train", "val", "test") for video in [one for one in odd if one.split == split][:2]]


def lay_out(name: str, root: Path, videos: list[Listed]) -> list[Path]:
    """Real clips under the names of the data set: its own of UCF101, frame folders of Something-Something."""
    clips = sorted(UCF101_MINI.glob("*/*.avi"))
    folders = sorted(SSV2_MINI.glob("*/*/*"))
    made = []
    for place, video in enumerate(videos):
        path, clip = usual_path(name, video), clips[place]
        if name == "ucf101":
            clip = UCF101_MINI / path
        elif name.startswith("ssv2"):
            path, clip = video.name.zfill(6), folders[place]
        elif name == "kinetics-cmn":
            path = without_time(path)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(clip)
        made.append(root / path)
    return made


@shared_data.needs_shared
@pytest.mark.parametrize("name", PUBLISHED)
def test_extraction_of_a_sample_with_a_broken_and_a_missing_clip(name: str, tmp_path: Path) -> None:
    videos = chosen(name)
    splits = write_lists(tmp_path / "lists", videos)
    broken = lay_out(name, tmp_path / "root", videos[:3] + videos[4:])[0]
    broken.unlink()
    broken.with_suffix(".mkv").write_bytes(b"")
    extract = (
        "extract",
        "--dataset",
        name,
        "--root",
        tmp_path / "root",
        "--splits",
        splits,
        "--cache",
        tmp_path / "feats",
    )
    done = run(*extract, *EXTRACT)
    assert done.exit_code == 0, done.output
    assert f"{len(videos) - 1} of {len(videos)} listed videos found" in done.stderr
    assert "note: 1 listed videos are not there" in done.stderr
    assert ("no view is mirrored" in done.stderr) is name.startswith("ssv2")
    cache = FeatureCache.open(tmp_path / "feats", name)
    assert cache.videos.id.tolist() == [video.id for video in videos]
    assert cache.videos.label.tolist() == [video.label for video in videos]
    assert cache.done.tolist() == [video not in (videos[0], videos[3]) for video in videos]
    assert dict(cache.failures()) == {
        videos[0].id: "the file is empty.",
        videos[3].id: "there is no such file or folder.",
    }
    assert cache.manifest.preprocessing["flip"] is (not name.startswith("ssv2"))


@shared_data.needs_shared
def test_a_clip_that_comes_later_is_filled_in(tmp_path: Path) -> None:
    videos = chosen("ssv2-otam")[:3]
    splits = write_lists(tmp_path / "lists", [*videos, *chosen("ssv2-otam")[4:]])
    lay_out("ssv2-otam", tmp_path / "root", videos[:2])
    extract = (
        "extract",
        "--dataset",
        "ssv2-otam",
        "--root",
        tmp_path / "root",
        "--splits",
        splits,
        "--cache",
        tmp_path,
    )
    first = run(*extract, *EXTRACT, "--json")
    assert json.loads(first.stdout)["done"] == 2
    before = FeatureCache.open(tmp_path, "ssv2-otam").manifest
    (tmp_path / "root" / f"{videos[2].name}.avi").symlink_to(sorted(UCF101_MINI.glob("*/*.avi"))[0])
    assert json.loads(run(*extract, *EXTRACT, "--json").stdout)["done"] == 0
    again = json.loads(run(*extract, *EXTRACT, "--retry-failed", "--json").stdout)
    assert (again["done"], again["before"]) == (1, 2)
    assert FeatureCache.open(tmp_path, "ssv2-otam").manifest == before


@shared_data.needs_shared
def test_a_root_without_any_of_the_videos_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, ["a/b.avi"])
    done = run("extract", "--dataset", "hmdb51", "--root", tmp_path, "--splits", SPLIT_LISTS, "--cache", tmp_path)
    assert done.exit_code == 2
    assert "holds none of the 6766 videos of hmdb51; `ta2n dataset check hmdb51 --root" in done.stderr.replace(
        "\n", " "
    )
