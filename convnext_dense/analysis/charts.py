"""The charts of the comparison, as plotly figures."""
import math

import plotly.graph_objects as go

from convnext_dense.analysis.bootstrap import mean_figure
from convnext_dense.analysis.comparison import KINDS, families
from convnext_dense.analysis.palette import COLOURS, GRID, INK, PAPER, style, translucent
from convnext_dense.analysis.stages import INFERENCE_STAGES

FONT = dict(family='system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif', size=13, color=INK)
LARGEST_BUBBLE = 56  # diameter in pixels
#: x axis of a bubble chart: its title, hover text, and what it shows of a model
COSTS = {
    'multiply-adds': ('multiply-adds (G)', '%{x:.3g} G', lambda m: m.complexity.total.macs / 1e9),
    'parameters': ('parameters (M)', '%{x:.3g} M', lambda m: m.complexity.total.params / 1e6),
    'throughput': ('pictures a second', '%{x:.3g} pictures/s',
                   lambda m: m.speed['inference']['images_per_s']['median']),
    'memory': ('memory of inference (MiB)', '%{x:.4g} MiB',
               lambda m: m.speed['inference']['peak_memory_MiB']),
}


def all_charts(models, labels, kinds, differences):
    """Every chart that the data allow.

    Args:
        models (list[Model]): in the order of their colours.
        labels (dict[str, str]): label of each model by name.
        kinds (list[str]): keys of ``KINDS``.
        differences (dict[str, list[Difference]]): paired differences by kind.

    Returns:
        dict[str, tuple[str, Figure]]: title and figure, by file name.
    """
    charts = {}
    for kind in kinds:
        title = KINDS[kind][0]
        for cost in COSTS:
            charts[f'{kind}-by-{cost}'] = (f'{title} and {cost}',
                                           bubble_chart(models, labels, kind, cost))
        charts[f'{kind}-differences'] = (f'Differences in {title}, with 95 % intervals',
                                         difference_chart(differences.get(kind, []), labels, kind))
        charts[f'{kind}-curve'] = (f'{title} on the validation pictures while training',
                                   curve_chart(models, labels, kind, title))
        charts[f'{kind}-by-size'] = (f'{title} by size of the object',
                                     size_chart(models, labels, kind))
        charts[f'{kind}-by-class'] = (f'{"IoU" if kind == "mIoU" else title} by class',
                                      class_chart(models, labels, kind))
    charts['loss-curve'] = ('Training loss', curve_chart(models, labels, 'loss', 'loss'))
    charts['stages'] = ('Time of a batch by stage', stage_chart(models, labels))
    return {name: (title, figure) for name, (title, figure) in charts.items() if figure.data}


def accuracy(model, kind):
    """AP or mIoU in percent: measured, else published, else None; and which of the two."""
    if model.results(kind):
        return mean_figure(model.results(kind)), 'measured'
    return (model.published or {}).get(KINDS[kind][1]), 'published'


def bubble_chart(models, labels, kind, cost):
    """Accuracy against a cost; the area of a bubble is the multiply-adds.

    With more models than colours a family of models shares one.
    """
    title, hover, value = COSTS[cost]
    figure = go.Figure()
    largest = max(model.complexity.total.macs for model in models)
    points = []
    many = len(models) > len(COLOURS)
    family, family_names = families(labels)
    for index, model in enumerate(models):
        figure_of_merit, source = accuracy(model, kind)
        try:
            x = value(model)
        except KeyError:
            continue
        if figure_of_merit is None:
            continue
        points.append((x, figure_of_merit))
        look = style(family[model.name] if many else index)
        macs = model.complexity.total.macs
        label = group = labels[model.name]
        if many:
            group = family_names[family[model.name]]
            label = label.removeprefix(group).strip('-_ ').upper() or label
        first = many and all(trace.name != group for trace in figure.data)
        figure.add_trace(go.Scatter(
            x=[x], y=[figure_of_merit], name=group, mode='markers+text',
            text=[label], textposition='bottom center' if family[model.name] % 2 else 'top center',
            textfont=dict(size=11 if many else 13), legendgroup=group, showlegend=first,
            marker=dict(size=[LARGEST_BUBBLE * math.sqrt(macs / largest)], opacity=1,
                        color=translucent(look['colour'], .75 if source == 'measured' else .25),
                        line=dict(color=look['colour'], width=2)),
            hovertemplate=f'<b>{model.name}</b><br>{KINDS[kind][0]} %{{y:.1f}} ({source})<br>'
                          f'{hover}<br>{macs / 1e9:.4g} G multiply-adds<extra></extra>'))
    _layout(figure, title, f'{KINDS[kind][0]} (%)')
    if points:
        for axis, values in (('xaxis', [x for x, _ in points]), ('yaxis', [y for _, y in points])):
            figure.update_layout({axis: dict(range=_padded(values))})
    return figure


def difference_chart(differences, labels, kind):
    """Paired differences with their intervals; an interval that holds 0 shows none."""
    figure = go.Figure()
    for difference in differences:
        name = f'{labels[difference.second]} − {labels[difference.first]}'
        clear = difference.verdict != 'no difference'
        colour = style(0)['colour'] if clear else style(2)['colour']
        figure.add_trace(go.Scatter(
            x=[difference.difference], y=[name], name=name, mode='markers', showlegend=False,
            error_x=dict(type='data', symmetric=False, thickness=3, width=8, color=colour,
                         array=[difference.high - difference.difference],
                         arrayminus=[difference.difference - difference.low]),
            marker=dict(size=12, color=colour, symbol='circle' if clear else 'circle-open',
                        line=dict(width=2, color=colour)),
            hovertemplate=f'<b>{labels[difference.second]}</b> against '
                          f'{labels[difference.first]}: %{{x:+.2f}} points, '
                          f'{difference.low:+.2f} to {difference.high:+.2f}, '
                          f'{difference.verdict}<extra></extra>'))
    _layout(figure, f'difference in {KINDS[kind][0]} (points)', None,
            height=140 + 46 * len(differences))
    _rows(figure, len(differences))
    figure.add_vline(x=0, line=dict(color=INK, width=1.5, dash='dot'))
    return figure


def curve_chart(models, labels, curve, title):
    """A learning curve of every run; a model's seeds share its colour and symbol."""
    figure = go.Figure()
    for index, model in enumerate(models):
        look = style(index)
        for seed, run in enumerate(run for run in model.runs if curve in run.curves):
            steps, values = run.curves[curve]
            figure.add_trace(go.Scatter(
                x=steps, y=values, name=labels[model.name], legendgroup=model.name,
                showlegend=seed == 0, line=dict(color=look['colour'], dash=look['dash'], width=2),
                mode='lines' if curve == 'loss' else 'lines+markers',
                marker=dict(symbol=look['symbol'], size=9),
                hovertemplate=f'<b>{labels[model.name]}</b> ({run.folder})<br>step %{{x}}: '
                              '%{y:.4g}<extra></extra>'))
    return _layout(figure, 'training step', title if curve == 'loss' else f'{title} (%)')


def size_chart(models, labels, kind):
    """AP of small, medium and large objects."""
    figure = go.Figure()
    for index, model in enumerate(models):
        sizes = _mean_of([result.by_size() for result in model.results(kind)])
        if not any(value is not None for value in sizes.values()):
            continue
        look = style(index)
        figure.add_trace(go.Bar(
            x=[f'{size}<br>{_AREAS[size]}' for size in sizes], y=list(sizes.values()),
            name=labels[model.name], marker=_bar(look),
            hovertemplate=f'<b>{labels[model.name]}</b><br>%{{x}}: %{{y:.1f}}<extra></extra>'))
    return _layout(figure, None, f'{KINDS[kind][0]} (%)')


def class_chart(models, labels, kind):
    """AP or IoU of every class, a row each."""
    figure = go.Figure()
    rows = 0
    for index, model in enumerate(models):
        classes = _mean_of([result.by_class() for result in model.results(kind)])
        if not classes:
            continue
        rows = len(classes)
        look = style(index)
        figure.add_trace(go.Scatter(
            x=list(classes.values()), y=list(classes), name=labels[model.name], mode='markers',
            marker=dict(symbol=look['symbol'], color=look['colour'], size=12,
                        line=dict(color=PAPER, width=1)),
            hovertemplate=f'<b>{labels[model.name]}</b><br>%{{y}}: %{{x:.1f}}<extra></extra>'))
    _layout(figure, f'{"IoU" if kind == "mIoU" else "AP"} (%)', None, height=180 + 30 * rows)
    _rows(figure, rows)
    return figure


def stage_chart(models, labels):
    """Median time of each stage of inference, stacked."""
    figure = go.Figure()
    timed = [model for model in models if 'inference' in model.speed]
    for index, stage in enumerate(INFERENCE_STAGES):
        if timed:
            figure.add_trace(go.Bar(
                y=[labels[model.name] for model in timed], orientation='h', name=stage,
                x=[model.speed['inference']['stages_ms'][stage] for model in timed],
                marker=_bar(style(index)),
                hovertemplate=f'<b>%{{y}}</b><br>{stage}: %{{x:.1f}} ms<extra></extra>'))
    _layout(figure, 'milliseconds', None, height=170 + 44 * len(timed))
    figure.update_layout(barmode='stack')
    _rows(figure, len(timed))
    return figure


_AREAS = dict(small='to 32² pixels', medium='to 96²', large='over 96²')


def _bar(look):
    return dict(color=look['colour'], line=dict(color=PAPER, width=1),
                pattern=dict(shape=look['pattern'], fillmode='overlay', fgcolor=PAPER, size=8,
                             solidity=.2))


def _mean_of(tables):
    """Mean over the seeds of figures by name; None where a seed has none."""
    return {name: None if any(table[name] is None for table in tables) else
            sum(table[name] for table in tables) / len(tables)
            for name in (tables[0] if tables else ())}


def _rows(figure, count):
    """A category axis that runs downwards, with half a row of space at both ends."""
    figure.update_yaxes(type='category', range=[count - .4, -.6], dtick=1)


def _padded(values, share=.25):
    low, high = min(values), max(values)
    pad = (high - low or abs(high) or 1) * share
    return [low - pad, high + 1.3 * pad]


def _layout(figure, x_title, y_title, height=400):
    figure.update_layout(
        template='none', autosize=True, height=height, font=FONT, paper_bgcolor=PAPER,
        plot_bgcolor=PAPER, hovermode='closest', barmode='group', dragmode=False,
        margin=dict(l=62, r=18, t=16, b=56),
        legend=dict(orientation='h', traceorder='normal', yanchor='bottom', y=1.02, x=0,
                    font=dict(size=13)))
    axis = dict(gridcolor=GRID, zeroline=False, automargin=True, linecolor=INK, ticks='outside',
                tickcolor=GRID)
    figure.update_xaxes(title=x_title, **axis)
    figure.update_yaxes(title=y_title, **axis)
    return figure
