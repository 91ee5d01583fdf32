"""The table's cells: ours, differences, footnotes, and what stands where there is nothing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from ta2n.cache_schema.errors import InputError
from ta2n.pipeline.evaluation.classes import LeftOut, SplitClasses
from ta2n.pipeline.evaluation.costs import Costs
from ta2n.pipeline.evaluation.metrics import estimate, paired_difference
from ta2n.pipeline.report.table.cells import to_sheets
from ta2n.pipeline.report.table.entries import TableEntry, as_record
from ta2n.pipeline.report.table.files import write_table
from ta2n.pipeline.report.table.rows import PublishedResult
from ta2n.pipeline.report.table.tested import MethodResult
from ta2n.pipeline.report.table.tuned import TunedResult

COSTS = Costs(parameters=12, macs=8_330_000_000, train_ms=2.0, peak_bytes=None)
EASY, HARD = np.array([1.0, 0.8, 0.6, 0.8]), np.array([0.6, 0.6, 0.4, 0.4])


ALL = SplitClasses(4, (), 40)
SOME = SplitClasses(24, (LeftOut("jump", 1, 2), LeftOut("run", 0, 2)), 40)


def run(
    accuracies: np.ndarray, method: str = "ta2n", *, fingerprint: str = "same", classes: SplitClasses = ALL
) -> MethodResult:
    return MethodResult(method, 1, accuracies, fingerprint, None, 0, COSTS, 0.5, classes)


def tuned() -> tuple[TunedResult, ...]:
    return (TunedResult(run(EASY, "otam"), HARD), TunedResult(run(EASY, "otam"), HARD - 0.2))


def made() -> list[TableEntry]:
    return [
        TableEntry(dataset="ucf101", method="protonet", title="ProtoNet", shot=1, runs=(run(HARD, "protonet"),)),
        TableEntry(
            dataset="ucf101",
            method="ta2n",
            title="TA2N",
            shot=1,
            runs=(run(EASY), run(EASY - 0.2)),
            published=PublishedResult(81.9, "ResNet-50", ""),
            tuned_missing="no fine-tuned checkpoint",
        ),
        TableEntry(
            dataset="ucf101",
            method="otam",
            title="OTAM",
            shot=1,
            missing="the disk is full",
            published=PublishedResult(79.9, "ResNet-50", ""),
            tuned_missing="no fine-tuned checkpoint",
        ),
        TableEntry(dataset="hmdb51", method="otam", title="OTAM", shot=1, missing="no store", tuned=tuned()),
    ]


def test_seeds_are_averaged_episode_by_episode() -> None:
    ta2n = made()[1]
    assert ta2n.accuracy == estimate(EASY - 0.1)
    assert ta2n.spread == pytest.approx(np.std([0.8, 0.6], ddof=1))
    assert ta2n.above_published == pytest.approx(0.7 - 0.819)
    assert made()[0].spread is None
    assert made()[0].above_published is None
    assert made()[2].accuracy is None


def test_a_published_number_never_stands_where_ours_is_missing() -> None:
    sheets = to_sheets(made(), way=5)
    assert [sheet.title for sheet in sheets] == ["ucf101, 5-way 1-shot", "hmdb51, 5-way 1-shot"]
    sheet = sheets[0]
    cells = {row[0]: dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows}
    otam, ta2n = cells["OTAM"], cells["TA2N"]
    assert otam["frozen backbone"].startswith("none [")
    mark = otam["frozen backbone"].removeprefix("none ")
    assert f"{mark} the disk is full" in sheet.notes
    assert otam["published"].startswith("79.9 [")
    assert otam["frozen − published"] == otam["against ProtoNet"] == otam["MACs"] == ""
    assert ta2n["frozen − published"] == "-11.9"
    assert ta2n["against ProtoNet"] == paired_difference(run(EASY - 0.1), run(HARD)).percent(signed=True)
    assert ta2n["seeds"] == "2 (± 14.14)"
    assert ta2n["MACs"] == "8.33 G"
    # The same footnote is written once: why nothing is fine-tuned, for both.
    assert ta2n["fine-tuned"] == otam["fine-tuned"]
    assert len(set(sheet.notes)) == len(sheet.notes)


def test_records_and_files_agree(tmp_path: Path) -> None:
    entries = made()
    files = write_table(entries, tmp_path / "new", title="Results", way=5, notes=["Small."])
    assert sorted(file.suffix for file in files) == [".csv", ".html", ".json", ".md", ".tex"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(file.name for file in files)
    by = {file.suffix: file.read_text() for file in files}
    stored = json.loads(by[".json"])["results"]
    assert stored == [as_record(entry, entries) for entry in entries]
    lines = list(csv.DictReader(by[".csv"].splitlines()))
    assert [line["method"] for line in lines] == ["protonet", "ta2n", "otam", "otam"]
    assert float(lines[1]["accuracy"]) == stored[1]["accuracy"] == pytest.approx(0.7)
    assert lines[2]["accuracy"] == ""
    assert lines[2]["missing"] == "the disk is full"
    assert stored[3]["tuned_accuracy"] == pytest.approx(0.8)
    assert (stored[3]["tuned_protonet"], stored[3]["tuned_seeds"]) == (pytest.approx(0.4), 2)
    assert stored[2]["tuned_protonet"] is None
    assert f"| {estimate(EASY).percent()} | {estimate(HARD - 0.1).percent()} |" in by[".md"]
    assert all("70.00 ± 16.00" in by[form] for form in (".md", ".html"))
    assert r"70.00 $\pm$ 16.00 \%" in by[".tex"]


def test_a_difference_and_a_mean_are_of_the_same_episodes_or_there_is_none() -> None:
    protonet = TableEntry(dataset="a", method="protonet", title="ProtoNet", shot=1, runs=(run(HARD, "protonet"),))
    other = TableEntry(
        dataset="a", method="ta2n", title="TA2N", shot=1, runs=(run(EASY, fingerprint="other"),), tuned_missing="none"
    )
    (sheet,) = to_sheets([protonet, other], way=5)
    cells = dict(zip(sheet.columns, sheet.rows[1], strict=True))
    mark = cells["against ProtoNet"].removeprefix("none ")
    assert f"{mark} not tested on the episodes that ProtoNet was tested on" in sheet.notes
    assert as_record(other, [protonet, other])["against_protonet"] is None
    with pytest.raises(InputError, match="4 and 4 episodes cannot be paired"):
        TableEntry(dataset="a", method="ta2n", title="", shot=1, runs=(run(EASY), run(EASY, fingerprint="other")))


def test_classes_that_drop_out_are_counted_and_named(tmp_path: Path) -> None:
    whole = TableEntry(dataset="a", method="protonet", title="ProtoNet", shot=1, runs=(run(HARD, "protonet"),))
    part = TableEntry(dataset="a", method="ta2n", title="TA2N", shot=1, runs=(run(EASY, classes=SOME),))
    (sheet,) = to_sheets([whole, part], way=5)
    first, second = (dict(zip(sheet.columns, row, strict=True))["classes"] for row in sheet.rows)
    assert first == "4"
    assert second.startswith("22 of 24 [")
    mark = second.removeprefix("22 of 24 ")
    said = "22 of 24 classes; left out: jump (1 clip usable, 2 needed), run (0 clips usable, 2 needed)"
    assert f"{mark} {said}" in sheet.notes
    record = as_record(part, [whole, part])
    assert (record["classes"], record["classes_of_split"]) == (22, 24)
    assert record["left_out"][1] == {"class": "run", "usable": 0, "needed": 2}
    files = {file.suffix: file.read_text() for file in write_table([whole, part], tmp_path, title="R", way=5)}
    assert said in files[".md"]
    assert [line["left_out"] for line in csv.DictReader(files[".csv"].splitlines())] == ["", "jump; run"]


def test_the_interval_of_one_episode_is_null_in_json_and_empty_in_csv(tmp_path: Path) -> None:
    entry = TableEntry(dataset="a", method="ta2n", title="TA2N", shot=1, runs=(run(EASY[:1]),))
    files = {file.suffix: file.read_text() for file in write_table([entry], tmp_path, title="R", way=5)}

    def refuse(name: str) -> None:
        raise AssertionError(name)

    (record,) = json.loads(files[".json"], parse_constant=refuse)["results"]
    assert record["interval"] is None
    (line,) = csv.DictReader(files[".csv"].splitlines())
    assert line["interval"] == ""
