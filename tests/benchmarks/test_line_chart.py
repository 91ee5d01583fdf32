"""The chart is a document of its own, with a point where the numbers say."""

from xml.etree import ElementTree

import pytest
from line_chart import HEIGHT, WIDTH, Panel, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def drawn() -> ElementTree.Element:
    panels = [
        Panel("first & best", {"a": [(100, 0), (20, 5)], "b": [(60, 10), (60, 0)]}),
        Panel("second", {"a": [(0, 0), (120, 0)], "b": [(60, 0), (60, 0)]}),
    ]
    text = line_chart(panels, (0.0, 0.5), x_label="x", y_label="y", y_range=(20, 100), dashed=["b"])
    return ElementTree.fromstring(text)


def test_lines_pass_through_their_points_and_stay_on_the_axes() -> None:
    lines = [line.get("points") for line in drawn().iter(f"{SVG}polyline")]
    assert lines[0] == f"0.0,0.0 {WIDTH}.0,{HEIGHT}.0"
    assert lines[1] == f"0.0,{HEIGHT / 2} {WIDTH}.0,{HEIGHT / 2}"
    assert lines[2] == f"0.0,{HEIGHT}.0 {WIDTH}.0,0.0"


def test_only_what_is_asked_for_is_dashed() -> None:
    dashes = [line.get("stroke-dasharray") for line in drawn().iter(f"{SVG}polyline")]
    assert dashes == [None, "5 3", None, "5 3"]


def test_titles_and_names_are_written_out() -> None:
    texts = [text.text for text in drawn().iter(f"{SVG}text")]
    assert texts.count("first & best") == texts.count("second") == texts.count("a") == texts.count("b") == 1


def test_an_interval_reaches_as_far_as_said() -> None:
    bars = [path.get("d") for path in drawn().iter(f"{SVG}path") if path.get("class") == "b"]
    top, bottom = (float(y) for y in str(bars[2]).split(" ")[1].split("V"))
    assert bottom - top == pytest.approx(HEIGHT * 20 / 80, abs=0.11)  # each end is rounded to a tenth
