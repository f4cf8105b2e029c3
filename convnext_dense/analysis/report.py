"""The comparison as one HTML page that needs nothing else, a Markdown table, PNG and SVG."""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from convnext_dense.analysis.bootstrap import RESAMPLES
from convnext_dense.analysis.charts import all_charts
from convnext_dense.analysis.comparison import KINDS, Model, kinds_of
from convnext_dense.analysis.comparison_table import (
    breakdown_rows,
    difference_rows,
    difference_text,
    figure_columns,
    markdown,
)
from convnext_dense.analysis.differences import Difference, compare_all
from convnext_dense.analysis.example_images import EXAMPLE_STYLE, html_examples
from convnext_dense.analysis.fairness import fairness_lines
from convnext_dense.analysis.labels import short_names
from convnext_dense.analysis.palette import dark_of
from convnext_dense.errors import InputError, html_text, printable
from convnext_dense.published import imagenet_rows

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from convnext_dense.analysis.disagreements import Disagreement

FAIRNESS = 'What is equal, and what is not'
WANTED = 1.  # points to each side of an interval
STATIC_SIZE = dict(width=900, height=560)


def compare_models(models: list[Model], kinds: list[str],
                   resamples: int = RESAMPLES) -> dict[str, list[Difference]]:
    """Differences between the models that have results, by kind.

    Returns:
        dict[str, list[Difference]]: of the kinds that two models or more have.
    """
    results = {kind: {model.name: model.results(kind) for model in models if model.results(kind)}
               for kind in kinds}
    return {kind: compare_all(by_model, resamples) for kind, by_model in results.items()
            if len(by_model) > 1}


def write_report(models: list[Model], folder: str | Path, title: str = 'Comparison',
                 resamples: int = RESAMPLES, static: bool = True, wanted: float = WANTED,
                 tuning: Sequence[str] = (),
                 report: Callable[[str], object] = lambda message: None,
                 examples: Sequence[Disagreement] = ()) -> dict[str, list[Difference]]:
    """Write ``report.html``, ``report.md``, ``comparison.json`` and the charts.

    Args:
        models (list[Model]): from :func:`convnext_dense.analysis.comparison.gather`.
        folder (str | Path): made where missing.
        title (str): of the page.
        resamples (int): of the images.
        wanted (float): points to each side of the interval for which seeds are estimated.
        tuning (Sequence[str]): what was tuned for whom, a line each.
        static (bool): also draw PNG and SVG, which takes Chrome or Chromium.
        report (callable): gets lines of progress.
        examples (Sequence[Disagreement]): images to show, on which the models differ.

    Returns:
        dict[str, list[Difference]]: what was found, by kind.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    labels, kinds = short_names(models), kinds_of(models)
    tasks = {'segmentation' if kind == 'mIoU' else 'detection' for kind in kinds}
    if len(tasks) > 1:
        raise InputError('compare: detectors and segmenters together; compare the models of one '
                         'task')
    differences = compare_models(models, kinds, resamples)
    charts = all_charts(models, labels, kinds, differences)
    sections = _sections(models, labels, kinds, differences, wanted)
    fairness = fairness_lines(models, labels, tuning)
    (folder / 'report.md').write_text(_markdown_page(title, fairness, sections, models))
    (folder / 'report.html').write_text(_html_page(
        title, fairness, sections, charts, models, folder, examples))
    (folder / 'comparison.json').write_text(json.dumps(
        {kind: [item.to_dict() for item in items] for kind, items in differences.items()},
        indent=2) + '\n')
    if static:
        write_static(charts, folder / 'charts', report)
    return differences


def write_static(charts: dict[str, tuple[str, go.Figure]], folder: Path,
                 report: Callable[[str], object]) -> None:
    """Every chart as PNG and SVG, by kaleido, which drives a Chrome or Chromium."""
    import plotly.io
    folder.mkdir(exist_ok=True)
    figures, files = [], []
    for name, (title, figure) in charts.items():
        size = dict(STATIC_SIZE, height=max(STATIC_SIZE['height'], figure.layout.height))
        titled = type(figure)(figure).update_layout(title=title, margin_t=90, **size)
        for kind in ('png', 'svg'):
            figures.append(titled)
            files.append(folder / f'{name}.{kind}')
    try:
        plotly.io.write_images(figures, files, scale=2)
    except Exception as error:  # kaleido's own errors share no class
        if 'chrome' not in f'{type(error).__name__} {error}'.lower():
            raise
        report('no PNG and SVG: kaleido found no Chrome or Chromium; install one, or run '
               'plotly_get_chrome')


def _sections(models, labels, kinds, differences, wanted):
    """Title, explanation, heading and rows of each table."""
    columns = figure_columns(models, kinds)
    sections = [('Figures', _conventions(models), ['model', *columns],
                 [[labels[model.name], *(cells[index] for cells in columns.values())]
                  for index, model in enumerate(models)])]
    head, rows = difference_rows(differences, labels, kinds, wanted)
    if rows:
        sections.append(('Is the difference real?', difference_text(differences), head, rows))
    for kind in kinds:
        for by, word in (('by_size', 'size of the object'), ('by_class', 'class')):
            head, rows = breakdown_rows(models, labels, kind, by)
            if rows:
                name = 'IoU' if kind == 'mIoU' else KINDS[kind][0]
                sections.append((f'{name} by {word}', 'In percent.', head, rows))
    return sections


def _conventions(models):
    lines = dict.fromkeys(f'Counted on {model.complexity.convention}.' for model in models)
    for model in models:
        for speed in model.speed.values():
            lines[f'{speed["mode"].capitalize()} timed on batches of {speed["batch"]}, '
                  f'images of {speed["size"] or "the data set"}: median of '
                  f'{speed["rounds"]} rounds, models in turns, 10th to 90th percentile in '
                  'brackets.'] = None
    return ' '.join(lines)


def _machines(models):
    """The machines of the benchmarks, a line each."""
    lines = []
    for model in models:
        if model.machine:
            machine = model.machine
            gpu = machine.get('gpu')
            lines.append(f'{gpu["name"] + ", " if gpu else ""}{machine["cpu"]}, '
                         f'{machine["cores"]} cores, {machine["threads"]} threads, '
                         f'{machine["memory_GiB"]} GiB, torch '
                         f'{machine["packages"]["torch"]}, {machine["time"]}')
    return list(dict.fromkeys(lines))


def _runs(models):
    """Where the figures come from, a line each."""
    published: dict[str, list[str]] = {}
    for model in models:
        if model.published:
            published.setdefault(model.published.get('source', 'unknown'), []).append(model.name)
    lines = [f'{model.name}: {", ".join(run.folder for run in model.runs)}'
             for model in models if model.runs]
    lines += [f'published in {source}: {", ".join(names)}' for source, names in published.items()]
    if published:
        lines.append('ImageNet: ' + ', '.join(dict.fromkeys(
            row['source'] for row in imagenet_rows())))
    return lines


def _markdown_page(title, fairness, sections, models):
    parts = [f'# {title}']
    if fairness:
        parts += [f'## {FAIRNESS}', '\n'.join(f'- {printable(line)}' for line in fairness)]
    for name, text, head, rows in sections:
        parts += [f'## {name}', text, markdown(head, rows)]
    parts += ['## Sources', '\n'.join(f'- {printable(line)}' for line in _runs(models) + [
        f'timed on {line}' for line in _machines(models)])]
    return '\n\n'.join(parts) + '\n'


def _html_page(title, fairness, sections, charts, models, folder, examples):
    from plotly.offline import get_plotlyjs
    body = [f'<h1>{html_text(title)}</h1>']
    if fairness:
        body.append(_html_list(FAIRNESS, fairness))
    body += [_html_section(*section) for section in sections[:2]]
    body.append('<section class="charts">')
    for name, (heading, figure) in charts.items():
        body.append(f'<figure><figcaption>{html_text(heading)}</figcaption>'
                    f'<div id="{name}" style="height:{figure.layout.height}px"></div></figure>')
    body.append('</section>')
    body += [_html_section(*section) for section in sections[2:]]
    body.append(html_examples(examples))
    body.append(_html_list('Sources', _runs(models) + [
        f'timed on {line}' for line in _machines(models)]))
    body.append(_run_reports(models, folder))
    return PAGE.format(title=html_text(title), style=STYLE + EXAMPLE_STYLE, plotly=get_plotlyjs(),
                       body='\n'.join(body), charts=_script(charts))


def _run_reports(models, folder):
    """Links to the reports of the trainings, where they have one."""
    links = []
    for model in models:
        for run in model.runs:
            page = Path(run.folder, 'report.html')
            if page.is_file():
                target = quote(os.path.relpath(page.resolve(), folder.resolve()))
                links.append(f'<li><a href="{html_text(target)}">'
                             f'{html_text(f"{model.name}: {run.folder}")}</a></li>')
    return f'<section><h2>Reports of the trainings</h2><ul>{"".join(links)}</ul></section>' \
        if links else ''


def _html_list(title, lines):
    items = ''.join(f'<li>{html_text(line)}</li>' for line in lines)
    return f'<section><h2>{html_text(title)}</h2><ul>{items}</ul></section>'


def _script(charts):
    """Draws every chart, once the page has its layout, so that each gets its real width."""
    calls = [DARK.format(colours=json.dumps(dark_of()))]
    for name, (_, figure) in charts.items():
        content = figure.to_json().replace('</', '<\\/')
        calls.append(f'var chart = {content};\nPlotly.newPlot("{name}", inColours(chart.data), '
                     'inColours(chart.layout), {responsive: true, displayModeBar: false});')
    return '\n'.join(calls)


def _html_section(title, text, head, rows):
    def cells(row, tag):
        return ''.join(f'<{tag}>{html_text(cell)}</{tag}>' for cell in row)
    table = ''.join(f'<tr>{cells(row, "td")}</tr>' for row in rows)
    return (f'<section><h2>{html_text(title)}</h2><p>{html_text(text)}</p>'
            f'<div class="scroll"><table><thead><tr>{cells(head, "th")}</tr></thead>'
            f'<tbody>{table}</tbody></table></div></section>')


STYLE = '''
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1400px; padding: 16px; color: #1a1a1a; background: #fff;
       font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif; }
h1 { font-size: 1.6rem; margin: .2em 0 .6em; }
h2 { font-size: 1.2rem; margin: 1.6em 0 .3em; }
p { max-width: 75ch; margin: .3em 0 .8em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35em .8em; text-align: right; border-bottom: 1px solid #d9d9d9; }
th { vertical-align: bottom; min-width: 6.2em; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
.charts { display: grid; gap: 20px; margin-top: 2em;
          grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
figure { margin: 0; min-width: 0; }
.charts figure:first-child { grid-column: 1 / -1; }
figcaption { font-weight: 600; margin-bottom: .3em; }
li { overflow-wrap: anywhere; max-width: 75ch; }
a { color: #0069b4; }
@media (prefers-color-scheme: dark) {
  body, th:first-child, td:first-child { color: #e8e8e8; background: #161616; }
  th, td { border-color: #444; }
  a { color: #6cb8f0; }
}
'''

#: charts take the colours that were chosen for a dark page where the reader prefers one
DARK = '''var darkColours = {colours};
function inColours(part) {{
  if (!matchMedia('(prefers-color-scheme: dark)').matches) return part;
  var text = JSON.stringify(part);
  for (var light in darkColours) text = text.split(light).join(darkColours[light]);
  return JSON.parse(text);
}}'''

PAGE = '''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
<script>{plotly}</script>
</head>
<body>
{body}
<script>
{charts}
</script>
</body>
</html>
'''
