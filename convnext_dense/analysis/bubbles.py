"""The bubble chart of the ConvNeXt paper's first figure: accuracy against a cost.

The area of a bubble is the multiply-adds.
"""
import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from convnext_dense.analysis.bootstrap import mean_figure, seed_spread
from convnext_dense.analysis.chart_layout import set_layout
from convnext_dense.analysis.comparison import KINDS, Model
from convnext_dense.analysis.label_placement import place_labels
from convnext_dense.analysis.labels import family_and_size
from convnext_dense.analysis.palette import COLOURS, INK, bubble_style, translucent

LARGEST = 56  # diameter in pixels
#: x axis of a bubble chart: its title, format of its values, and what it shows of a model
COSTS = {
    'multiply-adds': ('multiply-adds (G)', '.4~g', 'G multiply-adds',
                      lambda m: m.complexity.total.macs / 1e9),
    'parameters': ('parameters (M)', '.3~g', 'M parameters',
                   lambda m: m.complexity.total.params / 1e6),
    'throughput': ('images a second', '.3~g', 'images/s',
                   lambda m: m.speed['inference']['images_per_s']['median']),
    'latency': ('median time of a batch (ms)', '.3~g', 'ms',
                lambda m: m.speed['inference']['latency_ms']['p50']),
    'memory': ('memory of inference (MiB)', '.4~g', 'MiB',
               lambda m: m.speed['inference']['peak_memory_MiB']),
    'published-throughput': ('images a second on an A100, published', '.3~g', 'images/s',
                             lambda m: m.published['a100_fps']),
}


@dataclass
class Point:
    """One model in the chart; ``spread`` is that of its seeds, in points."""
    name: str
    family: str
    text: str
    x: float
    y: float
    spread: float
    source: str
    macs: int
    measured: bool


def bubble_chart(models: list[Model], labels: dict[str, str], kind: str, cost: str) -> go.Figure:
    """Accuracy against a cost; hollow bubbles are published figures, full ones measured.

    With more models than colours a family of models shares one and is joined by a line.
    """
    title, form, unit, _ = COSTS[cost]
    figure = go.Figure()
    families = _families(models, labels)
    points = [point for model in models for point in
              _points(model, labels[model.name], kind, cost, len(families) < len(models))]
    set_layout(figure, title, f'{KINDS[kind][0]} (%)', height=440)
    if not points:
        return figure
    largest = max(model.complexity.total.macs for model in models)
    diameters = [LARGEST * math.sqrt(point.macs / largest) for point in points]
    ranges = [_cost_range([point.x for point in points]), _padded([point.y for point in points])]
    positions = place_labels([(point.x, point.y) for point in points],
                             [point.text for point in points], diameters, *ranges)
    for index, family in enumerate(families):
        members = sorted((i for i, point in enumerate(points) if point.family == family),
                         key=lambda i: points[i].x)
        if not members:
            continue
        colour, symbol = bubble_style(index)
        chosen = [points[i] for i in members]
        figure.add_trace(go.Scatter(
            x=[point.x for point in chosen], y=[point.y for point in chosen], name=family,
            text=[point.text for point in chosen], mode='lines+markers+text',
            line=dict(color=translucent(colour, .5), width=1.5),
            textposition=[positions[i] for i in members], cliponaxis=False,
            error_y=dict(array=[point.spread for point in chosen], color=INK, thickness=1.5,
                         visible=any(point.spread for point in chosen)),
            marker=dict(symbol=symbol, size=[diameters[i] for i in members], opacity=1,
                        line=dict(color=colour, width=2),
                        color=[translucent(colour, .75 if point.measured else .2)
                               for point in chosen]),
            customdata=[[point.name, point.source, point.macs / 1e9] for point in chosen],
            hovertemplate=f'<b>%{{customdata[0]}}</b><br>{KINDS[kind][0]} %{{y:.1f}} '
                          f'(%{{customdata[1]}})<br>%{{x:{form}}} {unit}'
                          + ('' if cost == 'multiply-adds' else
                             '<br>%{customdata[2]:.4~g} G multiply-adds') + '<extra></extra>'))
    figure.update_layout(xaxis_range=ranges[0], yaxis_range=ranges[1],
                         showlegend=len(families) < len(models))
    return figure


def _families(models, labels):
    """Names that get a colour each: the models while the colours last, else their families."""
    names = list(labels.values())
    if len(models) > len(COLOURS):
        names = [family_and_size(name)[0] for name in names]
    return list(dict.fromkeys(names))


def _points(model, label, kind, cost, by_family):
    """The model's point, in a list that is empty where accuracy or cost are not known."""
    results = model.results(kind)
    accuracy = mean_figure(results) if results else (model.published or {}).get(KINDS[kind][1])
    try:
        x = COSTS[cost][-1](model)
    except (KeyError, TypeError):  # not timed, not published
        return []
    if accuracy is None:
        return []
    spread, source = 0., 'measured'
    if not results:
        source = f'published: {model.published["source"]}' if 'source' in model.published else \
            'published'
    if len(results) > 1:
        spread = seed_spread(results)
        source = f'± {spread:.1f}, measured with {len(results)} seeds'
    family, text = family_and_size(label) if by_family else (label, label)
    return [Point(model.name, family, text, x, accuracy, spread, source,
                  model.complexity.total.macs, bool(results))]


def _cost_range(values):
    """Ends of an axis of costs: it starts at 0 where the models cost about the same, so that
    three points of one size do not look like a law."""
    if max(values) < 2 * min(values):
        return 0., 1.3 * max(values)
    return _padded(values)


def _padded(values, share=.22):
    """Ends of an axis: space beside the values, and no small difference drawn large."""
    low, high = min(values), max(values)
    pad = max(share * (high - low), .08 * abs(np.mean(values))) or 1.  # all of them may be 0
    return max(low - pad, 0.) if low >= 0 else low - pad, high + pad
