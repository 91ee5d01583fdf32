"""Tables as text: what a reader, a compiler and a browser get."""

from html.parser import HTMLParser

import pytest

from ta2n.pipeline.report.table.sheet import Sheet, to_html, to_latex, to_markdown

SHEET = Sheet(
    "ucf101, 1-shot",
    ("method", "ours, %", "published"),
    (("TA2N", "70.1 ± 0.2", "81.9"), ("a_b|<c> & d\\e", "not run", "−1 ~{}^$#")),
    ("Heads on frozen features.",),
)


def test_markdown() -> None:
    assert to_markdown("Results", [SHEET], ["Small."]) == (
        "# Results\n\nSmall.\n\n## ucf101, 1-shot\n\n"
        "| method | ours, % | published |\n| --- | ---: | ---: |\n"
        "| TA2N | 70.1 ± 0.2 | 81.9 |\n| a_b\\|<c> & d\\e | not run | −1 ~{}^$# |\n\n"
        "Heads on frozen features.\n"
    )


def test_latex_escapes_what_would_be_read_as_commands() -> None:
    text = to_latex("Results", [SHEET], ["Small."])
    assert text.startswith("% Results\n% Small.\n\\begin{table}\n")
    assert r"\caption{ucf101, 1-shot. Heads on frozen features.}" in text
    assert r"\begin{tabular}{lrr}" in text
    assert r"method & ours, \% & published \\" in text
    assert r"TA2N & 70.1 $\pm$ 0.2 & 81.9 \\" in text
    assert r"a\_b|<c> \& d\textbackslash{}e & not run & $-$1 \textasciitilde{}\{\}\textasciicircum{}\$\# \\" in text


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href"} & {name for name, _ in attrs}, "the page must need nothing beside it"
        if tag != "meta":
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_html_holds_the_cells_and_nothing_to_load() -> None:
    page = _Cells()
    page.feed(to_html("Results", [SHEET], ["Small."]))
    assert not page.open
    assert tuple(page.cells) == (*SHEET.columns, *SHEET.rows[0], *SHEET.rows[1])


@pytest.mark.parametrize("form", [to_markdown, to_latex, to_html])
def test_no_sheet_at_all(form: object) -> None:
    assert callable(form)
    assert "Nothing" in form("Nothing", [])
