"""Which curves a report draws."""
import re
from collections import defaultdict
from collections.abc import Sequence

from convnext_dense.analysis.run_report.gathering import RunReport
from convnext_dense.analysis.run_report.line_chart import Chart
from convnext_dense.analysis.training_curves import Points, chosen_figures

#: losses that a chart shows on their own; of more, the small ones are added up
MOST_PARTS = 12
#: losses of the layers of a transformer's decoder but the last one: d0.loss_cls, ...
AUXILIARY = re.compile(r'd\d+\.')
AUXILIARY_NAME = 'auxiliary layers'


def charts_of(report: RunReport) -> list[Chart]:
    """The charts that the data of a report allow."""
    points = report.points
    names = chosen_figures(points)
    short = [name.rpartition('/')[2] for name in names]
    figures = {one if short.count(one) == 1 else name: points[name]
               for name, one in zip(names, short)}
    charts = [Chart('Loss', {name: points[name] for name in ('loss', ) if name in points}),
              Chart('Loss by part', loss_parts(points)),
              Chart('Validation', figures, dots=True),
              Chart('Learning rate by group', report.rates or {
                  name: values for name, values in points.items() if name == 'lr'}),
              Chart('Images per second', dict(training=throughput(report)), waiting(points)),
              Chart('Memory, MiB', {name: values for name, values in (
                  ('GPU, most so far', points.get('memory', ())),
                  ('main process, most so far', report.memory)) if values}),
              Chart('Norm of the gradient', {name: points[name] for name in ('grad_norm', )
                                             if name in points})]
    return [chart for chart in charts if any(chart.curves.values())]


def loss_parts(points: Points) -> dict[str, Sequence[tuple[float, float]]]:
    """The parts of the loss by name, the largest first; none where there is one part only."""
    parts = {name: values for name, values in points.items()
             if name != 'loss' and 'loss' in name.rpartition('.')[2]}
    auxiliary = [name for name in parts if AUXILIARY.match(name)]
    if auxiliary:
        parts[f'{AUXILIARY_NAME} ({len(auxiliary)} losses)'] = _sum(
            [parts.pop(name) for name in auxiliary])
    order = sorted(parts, key=lambda name: -_mean(parts[name]))
    if len(order) > MOST_PARTS:
        others = order[MOST_PARTS - 1:]
        rest = _sum([parts[name] for name in others])
        return {**{name: parts[name] for name in order[:MOST_PARTS - 1]},
                f'{len(others)} others': rest}
    return {name: parts[name] for name in order} if len(order) > 1 else {}


def throughput(report: RunReport) -> list[tuple[float, float]]:
    """Images a second of training in all processes, over the steps."""
    batch, processes = (report.facts.get(key) for key in ('batch', 'processes'))
    if not isinstance(batch, int) or not isinstance(processes, int):
        return []
    return [(step, batch * processes / seconds) for step, seconds in report.points.get('time', ())
            if seconds > 0]


def waiting(points: Points) -> str:
    """Which share of the time training waits for data, in words."""
    total = sum(seconds for _, seconds in points.get('time', ()))
    waited = sum(seconds for _, seconds in points.get('data_time', ()))
    return f'{waited / total:.0%} of the time is waiting for data' if total > 0 else ''


def _sum(curves):
    total: dict[float, float] = defaultdict(float)
    for points in curves:
        for step, value in points:
            total[step] += value
    return sorted(total.items())


def _mean(points):
    return sum(value for _, value in points) / len(points)
