"""The chart is a document of its own, with a point where the numbers say."""

import re
from xml.etree import ElementTree

import pytest
from line_chart import Panel, line_chart

SVG = "{http://www.w3.org/2000/svg}"
PANELS = [
    Panel("first & best", {"a": [(100, 0), (20, 5)], "b": [(60, 10), (60, 0)]}),
    Panel("second", {"a": [(20, 0), (100, 0)], "b": [(60, 0), (60, 0)]}),
]


def drawn() -> str:
    return line_chart(PANELS, (0.0, 0.5), x_label="x", y_label="y", y_range=(20, 100), dashed=["b"])


def lines(name: str) -> list[ElementTree.Element]:
    """The paths of one line, panel by panel."""
    groups = [group for group in ElementTree.fromstring(drawn()).iter(f"{SVG}g") if group.get("id") == f"line {name}"]
    return [path for group in groups for path in group.iter(f"{SVG}path")]


def ends(path: ElementTree.Element) -> list[tuple[float, float]]:
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", str(path.get("d")))]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_lines_pass_through_their_points() -> None:
    (falling, rising), (flat, _) = lines("a"), lines("b")
    (left, top), (right, bottom) = ends(falling)
    assert left < right
    assert top < bottom  # an SVG counts from the top
    assert [y for _, y in ends(flat)] == pytest.approx([(top + bottom) / 2] * 2)
    assert [y for _, y in ends(rising)] == pytest.approx([bottom, top])


def test_only_what_is_asked_for_is_dashed() -> None:
    assert all("stroke-dasharray" not in str(path.get("style")) for path in lines("a"))
    assert all("stroke-dasharray" in str(path.get("style")) for path in lines("b"))


def test_titles_and_names_are_written_out_once() -> None:
    texts = ["".join(text.itertext()).strip() for text in ElementTree.fromstring(drawn()).iter(f"{SVG}text")]
    assert texts.count("first & best") == texts.count("second") == texts.count("a") == texts.count("b") == 1


def test_the_same_numbers_give_the_same_document() -> None:
    assert drawn() == drawn()
    assert "<dc:date>" not in drawn()
