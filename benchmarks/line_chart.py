"""A chart of lines with intervals, panel by panel, as an SVG that is readable on light and on dark pages."""

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

# Of middling lightness, which stands out from white and from black.
COLOURS = (
    "#888888", "#b07aa1", "#9c755f", "#59a14f", "#4e79a7", "#6db3e8", "#f28e2b", "#76b7b2", "#d4a72c", "#e15759",
)  # fmt: skip
WIDTH, HEIGHT, LEFT, TOP, GAP, LEGEND = 230, 200, 46, 34, 34, 18
LEGEND_COLUMNS = 5


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
    """An SVG document: panels side by side, one legend below.

    Args:
        panels: all with the same lines, at most ten.
        xs: places of the points, rising.
        x_label: below each panel.
        y_label: beside the first panel.
        y_range: lowest and highest y; what lies outside is cut off.
        dashed: names of lines to draw in dashes.
    """
    names = list(panels[0].lines)
    strokes = {
        name: f'stroke="{colour}"' + (' stroke-dasharray="5 3"' if name in dashed else "")
        for name, colour in zip(names, COLOURS, strict=False)
    }
    width = LEFT + len(panels) * (WIDTH + GAP)
    height = TOP + HEIGHT + 50 + LEGEND * ceil(len(names) / LEGEND_COLUMNS)
    body = [_panel(panel, number, xs, y_range, strokes, x_label) for number, panel in enumerate(panels)]
    middle = TOP + HEIGHT / 2
    body.append(
        f'<text x="12" y="{middle}" transform="rotate(-90 12 {middle})" class="m">{html.escape(y_label)}</text>'
    )
    for place, name in enumerate(names):
        row, column = divmod(place, LEGEND_COLUMNS)
        x, y = LEFT + column * (width - LEFT) / LEGEND_COLUMNS, TOP + HEIGHT + 54 + row * LEGEND
        body.append(f'<path d="M{x:.1f} {y - 4}h24" {strokes[name]} class="l"/>')
        body.append(f'<text x="{x + 29:.1f}" y="{y}">{html.escape(name)}</text>')
    style = (
        "text{font:11px sans-serif;fill:#444}.m{text-anchor:middle}.e{text-anchor:end}.t{font-weight:bold}"
        ".l{fill:none;stroke-width:2}.b{stroke-width:1}.g{stroke:#8886;stroke-width:.6}"
        "@media(prefers-color-scheme:dark){text{fill:#ccc}}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    return "\n".join([head, f"<style>{style}</style>", *body, "</svg>", ""])


def _panel(
    panel: Panel,
    number: int,
    xs: Sequence[float],
    y_range: tuple[float, float],
    strokes: Mapping[str, str],
    x_label: str,
) -> str:
    left = LEFT + number * (WIDTH + GAP)
    low, high = y_range

    def x_of(x: float) -> float:
        return left + WIDTH * (x - xs[0]) / (xs[-1] - xs[0])

    def y_of(y: float) -> float:
        return TOP + HEIGHT * (high - min(max(y, low), high)) / (high - low)

    parts = [f'<text x="{left + WIDTH / 2}" y="{TOP - 12}" class="m t">{html.escape(panel.title)}</text>']
    for tick in range(5):
        y = low + tick * (high - low) / 4
        parts.append(f'<path d="M{left} {y_of(y):.1f}h{WIDTH}" class="g"/>')
        parts.append(f'<text x="{left - 5}" y="{y_of(y) + 4:.1f}" class="e">{y:g}</text>')
    parts += [f'<text x="{x_of(x):.1f}" y="{TOP + HEIGHT + 15}" class="m">{x:g}</text>' for x in xs]
    parts.append(f'<text x="{left + WIDTH / 2}" y="{TOP + HEIGHT + 32}" class="m">{html.escape(x_label)}</text>')
    for name, points in panel.lines.items():
        corners = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, (y, _) in zip(xs, points, strict=True))
        parts.append(f'<polyline points="{corners}" {strokes[name]} class="l"/>')
        for x, (y, half) in zip(xs, points, strict=True):
            top, bottom = y_of(y + half), y_of(y - half)
            parts.append(f'<path d="M{x_of(x):.1f} {top:.1f}V{bottom:.1f}" {strokes[name].split(" ")[0]} class="b"/>')
    return "\n".join(parts)
