"""Rows of the table: what a recipe may say, and that ours say it."""

from pathlib import Path

import pytest

import ta2n.recipes
from ta2n.cache_schema.errors import InputError, MissingError
from ta2n.pipeline.heads import HEADS
from ta2n.pipeline.report.table.rows import PublishedResult, read_row, read_rows

OWN = Path(str(ta2n.recipes.__file__)).parent
ROW = """
method = "otam"
title = "OTAM"
[train]
epochs = 3
[[published]]
dataset = "ucf101"
shot-1 = 79.9
shot-5 = 88.9
backbone = "ResNet-50"
[[published]]
dataset = "hmdb51"
shot-5 = 68.0
backbone = "ResNet-50"
note = "a re-run"
"""


def test_our_own_rows_are_every_method_once() -> None:
    rows = read_rows(OWN)
    assert sorted(row.method for row in rows) == sorted(HEADS), "every head wants a row: a file in recipes/"
    assert rows[0].method == "protonet"
    by_method = {row.method: row for row in rows}
    assert by_method["ta2n"].published["ssv2-otam", 1].percent == 47.6
    assert all(20 < number.percent < 100 for row in rows for number in row.published.values())


def test_a_row(tmp_path: Path) -> None:
    file = tmp_path / "otam.toml"
    file.write_text(ROW)
    row = read_row(file)
    assert (row.method, row.title, row.train, row.file) == ("otam", "OTAM", {"epochs": 3}, file)
    assert row.published == {
        ("ucf101", 1): PublishedResult(79.9, "ResNet-50", ""),
        ("ucf101", 5): PublishedResult(88.9, "ResNet-50", ""),
        ("hmdb51", 5): PublishedResult(68.0, "ResNet-50", "a re-run"),
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"otam"', '"otan"', "no method named 'otan'"),
        ("title", "titel", "unknown: titel"),
        ('method = "otam"', "", "found: title"),
        ("shot-5 = 68.0", 'shot-5 = "high"', "not a published result"),
        ("shot-5 = 68.0", "five = 68.0", "not a published result"),
        ('dataset = "hmdb51"', "", "not a published result"),
        ("[train]", "[train", "not a TOML file"),
    ],
)
def test_what_is_no_row_is_refused_with_its_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "row.toml"
    file.write_text(ROW.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        read_row(file)
    assert str(file) in str(caught.value)


def test_no_rows_and_two_of_one_method(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="holds no recipe"):
        read_rows(tmp_path)
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(ROW)
    with pytest.raises(InputError, match="has a row already"):
        read_rows(tmp_path)
