"""A chart of lines with intervals, panel by panel, as an SVG that is readable on light and on dark pages."""

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

# Of middling lightness, which stands out from white and from black.
COLOURS = (
    "#888888", "#b07aa1", "#9c755f", "#59a14f", "#4e79a7", "#6db3e8", "#f28e2b", "#76b7b2", "#d4a72c", "#e15759",
)  # fmt: skip
WIDTH, HEIGHT = 340, 210
LEFT, TOP, GAP, BELOW, LEGEND = 46, 34, 40, 50, 18
COLUMNS, LEGEND_COLUMNS = 2, 5
# Between the intervals of two lines at the same x, so that none hides another.
ASIDE = 1.5
STYLE = (
    "text{font:11px sans-serif;fill:#444}.m{text-anchor:middle}.e{text-anchor:end}.t{font-weight:bold}"
    ".l{fill:none;stroke-width:2}.b{stroke-width:1}.g{stroke:#8886;stroke-width:.6}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}}"
)


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
    """An SVG document: two panels in a row, one legend below.

    Args:
        panels: all with the same lines, at most ten.
        xs: places of the points, rising.
        x_label: below each panel.
        y_label: beside each row of panels.
        y_range: lowest and highest y; what lies outside is cut off.
        dashed: names of lines to draw in dashes.
    """
    names = list(panels[0].lines)
    rows = ceil(len(panels) / COLUMNS)
    width = LEFT + COLUMNS * (WIDTH + GAP)
    bottom = rows * (TOP + HEIGHT + BELOW)
    height = bottom + LEGEND * ceil(len(names) / LEGEND_COLUMNS)
    body = []
    for number, panel in enumerate(panels):
        row, column = divmod(number, COLUMNS)
        place = LEFT + column * (WIDTH + GAP), TOP + row * (TOP + HEIGHT + BELOW)
        body.append(f'<g transform="translate({place[0]} {place[1]})">')
        body += _axes(panel.title, xs, y_range, x_label, "" if column else y_label)
        body += _lines(panel, xs, y_range, dashed)
        body.append("</g>")
    for number, name in enumerate(names):
        row, column = divmod(number, LEGEND_COLUMNS)
        x, y = LEFT + column * (width - LEFT) // LEGEND_COLUMNS, bottom + 4 + row * LEGEND
        body.append(f'<path d="M{x} {y - 4}h24" {_stroke(number, name, dashed)} class="l"/>')
        body.append(f'<text x="{x + 29}" y="{y}">{html.escape(name)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">'
    return "\n".join([head, f"<style>{STYLE}</style>", *body, "</svg>", ""])


def _axes(title: str, xs: Sequence[float], y_range: tuple[float, float], x_label: str, y_label: str) -> list[str]:
    middle = WIDTH / 2, HEIGHT / 2
    parts = [
        f'<text x="{middle[0]}" y="-12" class="m t">{html.escape(title)}</text>',
        f'<text x="{middle[0]}" y="{HEIGHT + 32}" class="m">{html.escape(x_label)}</text>',
        f'<text y="-34" x="{-middle[1]}" transform="rotate(-90)" class="m">{html.escape(y_label)}</text>',
    ]
    low, high = y_range
    for y in (low + tick * (high - low) / 4 for tick in range(5)):
        parts.append(f'<path d="M0 {_y_of(y, y_range):.1f}h{WIDTH}" class="g"/>')
        parts.append(f'<text x="-5" y="{_y_of(y, y_range) + 4:.1f}" class="e">{y:g}</text>')
    return parts + [f'<text x="{_x_of(x, xs):.1f}" y="{HEIGHT + 15}" class="m">{x:g}</text>' for x in xs]


def _lines(panel: Panel, xs: Sequence[float], y_range: tuple[float, float], dashed: Collection[str]) -> list[str]:
    parts = []
    for number, (name, points) in enumerate(panel.lines.items()):
        corners = [(_x_of(x, xs), *point) for x, point in zip(xs, points, strict=True)]
        polyline = " ".join(f"{x:.1f},{_y_of(y, y_range):.1f}" for x, y, _ in corners)
        parts.append(f'<polyline points="{polyline}" {_stroke(number, name, dashed)} class="l"/>')
        aside = ASIDE * (number - (len(panel.lines) - 1) / 2)
        for x, y, half in corners:
            top, bottom = _y_of(y + half, y_range), _y_of(y - half, y_range)
            parts.append(f'<path d="M{x + aside:.1f} {top:.1f}V{bottom:.1f}" stroke="{COLOURS[number]}" class="b"/>')
    return parts


def _stroke(number: int, name: str, dashed: Collection[str]) -> str:
    return f'stroke="{COLOURS[number]}"' + (' stroke-dasharray="5 3"' if name in dashed else "")


def _x_of(x: float, xs: Sequence[float]) -> float:
    return WIDTH * (x - xs[0]) / (xs[-1] - xs[0])


def _y_of(y: float, y_range: tuple[float, float]) -> float:
    low, high = y_range
    return HEIGHT * (high - min(max(y, low), high)) / (high - low)
