"""Curves as SVG that takes its colours from the page, with a legend that names the last values."""
import json
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

from convnext_dense.errors import html_text

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 360, 210  # units, about pixels on a phone
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 8, 24  # of the plot's frame
MOST_POINTS = 240  # of a curve; more cannot be seen
DASHES = ('', '7 3', '2 3', '9 3 2 3')
COLOURS = 6  # of the style sheet
#: an outlier at the start, as the first losses of a training may be, does not set the scale
OUTLYING = 3.


class Chart(NamedTuple):
    """One chart.

    Attributes:
        title (str): above it.
        curves (Mapping[str, Points]): steps and values by name, steps ascending.
        note (str): below the title.
        dots (bool): mark the points, where there are few.
    """
    title: str
    curves: Mapping[str, Points]
    note: str = ''
    dots: bool = False


def draw(chart: Chart) -> str:
    """A chart as a HTML figure; all names are escaped."""
    curves = {name: thinned(points) for name, points in chart.curves.items() if points}
    if not curves:
        return ''
    last = max(points[-1][0] for points in curves.values())
    first = min(min(points[0][0] for points in curves.values()), last - 1)
    top, ticks = scale([value for points in curves.values() for _, value in points])
    frame = _Frame(first, last, min(0., ticks[0]), top)
    body = [_grid(frame, ticks)]
    body += [_curve(frame, points, index, chart.dots)
             for index, points in enumerate(curves.values())]
    note = f'<p class="note">{html_text(chart.note)}</p>' if chart.note else ''
    legend = ''.join(_key(name, points, index)
                     for index, (name, points) in enumerate(curves.items()))
    # numbers only, so that no name can end the script
    data = json.dumps(dict(first=first, last=last, curves=[
        [[round(step, 1), float(f'{value:.5g}')] for step, value in points]
        for points in curves.values()]))
    title = html_text(chart.title)
    return (f'<figure class="chart"><figcaption>{title}</figcaption>{note}'
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
            f'{"".join(body)}<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/></svg>'
            f'<ul class="legend">{legend}</ul>'
            f'<script type="application/json">{data}</script></figure>')


def thinned(points: Points) -> list[tuple[float, float]]:
    """A curve of at most ``MOST_POINTS``: means of neighbours, the last point as it is."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size == 1:
        return list(points)
    groups = [points[start:start + size] for start in range(0, len(points) - 1, size)]
    return [(sum(step for step, _ in group) / len(group),
             sum(value for _, value in group) / len(group)) for group in groups] + [points[-1]]


def scale(values: Sequence[float]) -> tuple[float, list[float]]:
    """The upper end of an axis for values, and its ticks, the lowest first.

    A few values that are far above all others run out of the chart.
    """
    ordered = sorted(values)
    most = ordered[-1]
    usual = ordered[int(.95 * (len(ordered) - 1))]
    if len(ordered) >= 20 and usual > 0 and most > OUTLYING * usual:
        most = 1.2 * usual
    low = min(0., ordered[0])
    if most <= low:
        most = low + 1
    ticks = [float(tick) for tick in MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(
        low, most)]
    return max(ticks[-1], most), ticks


class _Frame(NamedTuple):
    """From steps and values to places in the drawing."""
    first: float
    last: float
    low: float
    top: float

    def x(self, step):
        share = (step - self.first) / (self.last - self.first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        share = (min(value, self.top) - self.low) / (self.top - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _grid(frame, ticks):
    parts = []
    for tick in ticks:
        y = frame.y(tick)
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
                     f'y2="{y:.1f}"/><text x="{LEFT - 6}" y="{y + 4:.1f}" '
                     f'text-anchor="end">{short_number(tick)}</text>')
    locator = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], integer=True)
    for tick in locator.tick_values(frame.first, frame.last):
        if frame.first <= tick <= frame.last:
            x = frame.x(tick)
            anchor = 'end' if x > WIDTH - RIGHT - 14 else 'middle'
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
                         f'{short_number(tick)}</text>')
    return ''.join(parts)


def _curve(frame, points, index, dots):
    places = [(frame.x(step), frame.y(value)) for step, value in points]
    line = ' '.join(f'{x:.1f},{y:.1f}' for x, y in places)
    marks = ''.join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in places) \
        if dots or len(places) == 1 else ''
    return f'<g class="{_look(index)}"><polyline points="{line}"{_dashes(index)}/>{marks}</g>'


def _key(name, points, index):
    return (f'<li class="{_look(index)}"><svg viewBox="0 0 24 10" aria-hidden="true">'
            f'<line x1="0" x2="24" y1="5" y2="5"{_dashes(index)}/></svg>'
            f'<span>{html_text(name)}</span><b>{short_number(points[-1][1])}</b></li>')


def _look(index):
    return f'curve c{index % COLOURS}'


def _dashes(index):
    dashes = DASHES[index // COLOURS % len(DASHES)]
    return f' stroke-dasharray="{dashes}"' if dashes else ''


def short_number(value: float) -> str:
    """A number in a few characters: 0.312, 5e-05, 160k, 1.2M."""
    if abs(value) >= 1e6:
        return f'{value / 1e6:.3g}M'
    if abs(value) >= 10000:
        return f'{value / 1e3:.3g}k'
    return f'{value:.4g}' if abs(value) >= 1 else f'{value:.3g}'
