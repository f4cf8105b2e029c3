"""The charts of the comparison, as plotly figures."""
import numpy as np
import plotly.graph_objects as go

from convnext_dense.analysis.bubbles import COSTS, bubble_chart
from convnext_dense.analysis.chart_layout import set_layout, set_rows
from convnext_dense.analysis.comparison import KINDS, Model
from convnext_dense.analysis.comparison_table import sentence
from convnext_dense.analysis.differences import Difference
from convnext_dense.analysis.imagenet_chart import TITLE, imagenet_chart
from convnext_dense.analysis.palette import INK, PAPER, style
from convnext_dense.analysis.stages import INFERENCE_STAGES, TRAINING_STAGES

STAGES = dict(inference=INFERENCE_STAGES, training=TRAINING_STAGES)


def all_charts(models: list[Model], labels: dict[str, str], kinds: list[str],
               differences: dict[str, list[Difference]]) -> dict[str, tuple[str, go.Figure]]:
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
    if any(model.published for model in models):
        charts['imagenet'] = (TITLE, imagenet_chart())
    for kind in kinds:
        title = KINDS[kind][0]
        for cost in COSTS:
            words = cost.replace('published-', 'published ')
            charts[f'{kind}-by-{cost}'] = (f'{title} and {words}',
                                           bubble_chart(models, labels, kind, cost))
        charts[f'{kind}-differences'] = (f'Differences in {title}, with intervals',
                                         difference_chart(differences.get(kind, []), labels, kind))
        charts[f'{kind}-curve'] = (f'{title} on the validation images while training',
                                   curve_chart(models, labels, kind, title))
        charts[f'{kind}-by-time'] = (f'{title} on the validation images by time of training',
                                     time_chart(models, labels, kind))
        charts[f'{kind}-by-size'] = (f'{title} by size of the object',
                                     size_chart(models, labels, kind))
        charts[f'{kind}-by-class'] = (f'{"IoU" if kind == "mIoU" else title} by class',
                                      class_chart(models, labels, kind))
    charts['loss-curve'] = ('Training loss', curve_chart(models, labels, 'loss', 'loss'))
    for mode in STAGES:
        charts[f'{mode}-stages'] = (f'Time of a batch by stage, {mode}',
                                    stage_chart(models, labels, mode))
    return {name: (title, figure) for name, (title, figure) in charts.items() if figure.data}


def difference_chart(differences: list[Difference], labels: dict[str, str], kind: str) -> go.Figure:
    """Differences with their intervals; a full marker stands for a verdict of better or worse."""
    figure = go.Figure()
    for difference in differences:
        name = f'{labels[difference.second]} − {labels[difference.first]}'
        clear = difference.verdict in ('better', 'worse')
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
                          f'{sentence(difference, labels)}<extra></extra>'))
    set_layout(figure, f'difference in {KINDS[kind][0]} (points)', None,
            height=140 + 46 * len(differences))
    set_rows(figure, len(differences))
    figure.add_vline(x=0, line=dict(color=INK, width=1.5, dash='dot'))
    return figure


def curve_chart(models: list[Model], labels: dict[str, str], curve: str, title: str) -> go.Figure:
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
    return set_layout(figure, 'training step', title if curve == 'loss' else f'{title} (%)')


def time_chart(models: list[Model], labels: dict[str, str], kind: str) -> go.Figure:
    """A curve of every run against the seconds that it had trained, as logged on its machine."""
    figure = go.Figure()
    for index, model in enumerate(models):
        look = style(index)
        timed = [run for run in model.runs if kind in run.curves and run.seconds[0]]
        for seed, run in enumerate(timed):
            steps, values = run.curves[kind]
            figure.add_trace(go.Scatter(
                x=np.interp(steps, *run.seconds).tolist(), y=values, name=labels[model.name],
                legendgroup=model.name, showlegend=seed == 0, mode='lines+markers',
                line=dict(color=look['colour'], dash=look['dash'], width=2),
                marker=dict(symbol=look['symbol'], size=9),
                hovertemplate=f'<b>{labels[model.name]}</b> ({run.folder})<br>%{{x:.0f}} s: '
                              '%{y:.4g}<extra></extra>'))
    return set_layout(figure, 'seconds of training', f'{KINDS[kind][0]} (%)')


def size_chart(models: list[Model], labels: dict[str, str], kind: str) -> go.Figure:
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
    return set_layout(figure, None, f'{KINDS[kind][0]} (%)')


def class_chart(models: list[Model], labels: dict[str, str], kind: str) -> go.Figure:
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
    set_layout(figure, f'{"IoU" if kind == "mIoU" else "AP"} (%)', None, height=180 + 30 * rows)
    set_rows(figure, rows)
    return figure


def stage_chart(models: list[Model], labels: dict[str, str], mode: str) -> go.Figure:
    """Median time of each stage of inference or of a training step, stacked."""
    figure = go.Figure()
    timed = [model for model in models if mode in model.speed]
    for index, stage in enumerate(STAGES[mode] if timed else ()):
        figure.add_trace(go.Bar(
            y=[labels[model.name] for model in timed], orientation='h', name=stage,
            x=[model.speed[mode]['stages_ms'][stage] for model in timed],
            marker=_bar(style(index)),
            hovertemplate=f'<b>%{{y}}</b><br>{stage}: %{{x:.1f}} ms<extra></extra>'))
    set_layout(figure, 'milliseconds', None, height=170 + 44 * len(timed))
    figure.update_layout(barmode='stack')
    set_rows(figure, len(timed))
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
