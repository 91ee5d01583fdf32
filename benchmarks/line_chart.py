"""A chart of lines with intervals, panel by panel, as an SVG that is readable on light and on dark pages."""

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

# Of middling lightness, which stands out from white and from black.
COLOURS = (
    "#888888", "#b07aa1", "#9c755f", "#59a14f", "#4e79a7", "#6db3e8", "#f28e2b", "#76b7b2", "#d4a72c", "#e15759",
)  # fmt: skip
COLUMNS, LEGEND_COLUMNS = 2, 5
TEXT = "#777777"
# Between the intervals of two lines at the same x, as a part of the axis, so that none hides another.
ASIDE = 0.004


@dataclass(frozen=True)
class Panel:
    """One set of axes.

    Attributes:
        title: above it.
        lines: by name, a mean and the half-width of its interval at each x.
    """

    title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def line_chart(
    panels: Sequence[Panel],
    xs: Sequence[float],
    *,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float],
    dashed: Collection[str] = (),
) -> str:
    """An SVG document: two panels in a row, one legend below; the same numbers give the same document.

    Args:
        panels: all with the same lines, at most ten.
        xs: places of the points, rising.
        x_label: below each panel.
        y_label: beside each row of panels.
        y_range: lowest and highest y; what lies outside is cut off.
        dashed: names of lines to draw in dashes.
    """
    import matplotlib as mpl  # of the extra `figures`
    from matplotlib.figure import Figure

    rows = ceil(len(panels) / COLUMNS)
    style: dict[Any, Any] = {"svg.hashsalt": "ta2n", "svg.fonttype": "none", "font.size": 9}
    colours: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), TEXT
    )
    with mpl.rc_context(style | colours):
        figure = Figure(figsize=(8.4, 2.9 * rows + 0.5), layout="constrained")
        axes = figure.subplots(rows, COLUMNS, squeeze=False).flat
        for number, (axis, panel) in enumerate(zip(axes, panels, strict=False)):
            _draw(axis, panel, xs, dashed)
            axis.set(title=panel.title, xlabel=x_label, xticks=xs, ylim=y_range)
            axis.set_ylabel("" if number % COLUMNS else y_label)
            axis.grid(axis="y", alpha=0.4)
        for axis in list(figure.axes)[len(panels) :]:
            axis.set_visible(False)
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _draw(axis: Any, panel: Panel, xs: Sequence[float], dashed: Collection[str]) -> None:
    step = ASIDE * (xs[-1] - xs[0])
    for number, (name, points) in enumerate(panel.lines.items()):
        means, halves = zip(*points, strict=True)
        style = "--" if name in dashed else "-"
        axis.plot(xs, means, color=COLOURS[number], linestyle=style, label=name, gid=f"line {name}")
        places = [x + step * (number - (len(panel.lines) - 1) / 2) for x in xs]
        axis.errorbar(places, means, halves, fmt="none", ecolor=COLOURS[number], elinewidth=1)
