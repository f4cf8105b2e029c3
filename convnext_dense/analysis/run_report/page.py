"""A run's report as one HTML page that needs nothing else; what comes from files is escaped."""
import base64
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from convnext_dense.analysis.run_report.charts import charts_of, throughput
from convnext_dense.analysis.run_report.gathering import RunReport
from convnext_dense.analysis.run_report.line_chart import draw, short_number
from convnext_dense.analysis.run_report.record import FOLDER
from convnext_dense.analysis.run_report.style import SCRIPT, STYLE
from convnext_dense.analysis.training_curves import chosen_figures
from convnext_dense.datasets.coco_masks import is_number
from convnext_dense.errors import html_text
from convnext_dense.wording import counted

RELOAD = 30  # seconds between two looks at a running training
MOST_STEPS = 8  # validations whose samples are shown
MOST_LISTED = 50  # bad images and skipped steps
LAST = 20  # log lines that the current speed is the mean of
STATES = dict(running='running', finished='finished', stopped='stopped', failed='failed',
              killed='ended without a word')
FACTS = dict(
    config='config', model='model', device='device', processes='processes',
    batch='images a step and process', training_images='training images',
    validation_images='validation images', seed='seed', versions='versions')


def page_of(report: RunReport) -> str:
    """The page of a report."""
    name = report.work_dir.resolve().name
    if name == 'work_dir':  # of `convnext-dense new`
        name = report.work_dir.resolve().parent.name
    running = report.state == 'running'
    charts = ''.join(map(draw, charts_of(report)))
    curves = f'<div class="charts">{charts}</div>' if charts else \
        '<p>No step has been logged yet.</p>'
    body = [_header(report, name), _tiles(report),
            _section('Curves over the training steps', curves),
            _samples(report), _worst(report), _skipped(report), _facts(report)]
    return PAGE.format(title=html_text(f'{name}: {report.step} steps'), style=STYLE,
                       reload=RELOAD if running else 0, body='\n'.join(filter(None, body)),
                       script=SCRIPT)


def _text(value: Any) -> str:
    return html_text(str(value))


def _header(report, name):
    facts = report.facts
    about = ' · '.join(_text(facts[key]) for key in ('config', 'model', 'device')
                       if facts.get(key))
    state = f'<span class="state {report.state}">{STATES[report.state]}</span>' \
        if report.state in STATES else ''
    why = f'<p class="why">{_text(report.text)}</p>' if report.text else ''
    written = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(report.written))
    total = facts.get('max_iters')
    bar = f'<progress max="{total}" value="{min(report.step, total)}"></progress>' \
        if isinstance(total, int) and total > 0 else ''
    return (f'<header><h1>{_text(name)} {state}</h1><p>{about}</p>{why}{bar}'
            f'<p class="note">written <time data-seconds="{report.written:.0f}">{written}</time>'
            '</p></header>')


def _tiles(report):
    """The numbers that are looked at first."""
    tiles = [_progress_tile(report)]
    loss = report.points.get('loss')
    if loss:
        tiles.append(('loss', short_number(loss[-1][1]), f'{short_number(loss[0][1])} at first'))
    best = best_figure(report)
    if best:
        tiles.append(best)
    speed = [value for _, value in throughput(report)[-LAST:]]
    if speed:
        times = [line['seconds'] for line in report.validations]
        tiles.append(('images per second', short_number(sum(speed) / len(speed)),
                      f'a validation takes {duration(sum(times) / len(times))}' if times else ''))
    memory = report.points.get('memory') or report.memory
    if memory:
        where = 'of the GPU' if 'memory' in report.points else 'of the main process'
        tiles.append(('memory at most', f'{max(value for _, value in memory) / 1024:.2f} GiB',
                      where))
    unused = [entry for entry in report.bad_images if not entry['used']]
    skipped = [counted(len(found), word) for word, found in (
        ('step', report.skipped), ('image', unused)) if found]
    tiles.append(('skipped', ', '.join(skipped) or 'nothing', ''))
    return '<dl class="tiles">' + ''.join(
        f'<div><dt>{_text(title)}</dt><dd>{_text(value)}</dd><dd class="note">{_text(note)}</dd>'
        '</div>' for title, value, note in tiles) + '</dl>'


def _progress_tile(report):
    total, epochs = report.facts.get('max_iters'), report.facts.get('max_epochs')
    if not is_number(total) or total <= 0:
        return 'steps', str(report.step), ''
    text = f'of {total}' + (f', epoch {report.step * epochs / total:.1f} of {epochs}'
                            if is_number(epochs) else '')
    times = [seconds for _, seconds in report.points.get('time', ())[-LAST:]]
    if report.state == 'running' and times and report.step < total:
        left = (total - report.step) * sum(times) / len(times)
        text += f'; {duration(left)} of training left'
    return 'steps', str(report.step), text


def best_figure(report: RunReport) -> tuple[str, str, str] | None:
    """The best of the figure that tells the best weights: its name, its value, its step."""
    name, rule = str(report.facts.get('monitor')), report.facts.get('rule')
    if name not in report.points:
        name, rule = next(iter(chosen_figures(report.points)), ''), 'greater'
    if not name:
        return None
    choose = min if rule == 'less' else max
    step, value = choose(report.points[name], key=lambda point: point[1])
    last = report.points[name][-1]
    return (f'best {name.rpartition("/")[2]}', short_number(value), f'at step {step:.0f}' + (
        f'; {short_number(last[1])} at step {last[0]:.0f}' if last[0] != step else ''))


def duration(seconds: float) -> str:
    """Seconds in words of a person: ``45 s``, ``2:05 min``, ``3:20 h``, ``2 days, 3:20 h``."""
    if seconds < 60:
        return f'{seconds:.0f} s' if seconds >= 9.5 else f'{seconds:.1f} s'
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    if not whole.days and not hours:
        return f'{rest // 60}:{rest % 60:02} min'
    days = f'{counted(whole.days, "day")}, ' if whole.days else ''
    return f'{days}{hours}:{rest // 60:02} h'


def shown(validations: Sequence[dict]) -> list[dict]:
    """Of many validations the first, the last and some between them, evenly spread, newest first.
    """
    count = len(validations)
    if count > MOST_STEPS:
        places = {round(place * (count - 1) / (MOST_STEPS - 1)) for place in range(MOST_STEPS)}
        validations = [validations[place] for place in sorted(places)]
    return list(reversed(validations))


def _samples(report):
    """A row of drawings for each sample: annotations, then the newest prediction first."""
    validations = shown(report.validations)
    names = list(dict.fromkeys(str(sample.get('name')) for line in validations
                               for sample in line['samples'] if isinstance(sample, dict)))
    rows = []
    for name in names:
        found = [(line['step'], sample) for line in validations for sample in line['samples']
                 if isinstance(sample, dict) and str(sample.get('name')) == name]
        images = [_image(report, found[0][1].get('truth'), 'annotated', '')]
        images += [_image(report, sample.get('file'), f'step {step}', '')
                   for step, sample in found]
        rows.append(f'<h3>{_text(Path(name).name)}</h3>'
                    f'<div class="strip" tabindex="0">{"".join(images)}</div>')
    return _section('Samples of the validation', ''.join(rows)) if any(rows) else ''


def _worst(report):
    """The worst images of the last validation."""
    last = report.validations[-1] if report.validations else dict(worst=[])
    images = [_image(report, entry.get('file'), Path(str(entry.get('name'))).name,
                     str(entry.get('text', ''))) for entry in last['worst']
              if isinstance(entry, dict)]
    if not any(images):
        return ''
    processes = report.facts.get('processes')
    several = ' that the main process saw' if is_number(processes) and processes > 1 else ''
    return _section('Worst images', f'<p>Of the {last["scored"]} images{several} at step '
                    f'{last["step"]}; objects count from a score of 0.3.</p>'
                    f'<div class="grid">{"".join(images)}</div>')


def _image(report, file, title, text):
    """A drawing inside of the page; nothing where its file is gone, or is elsewhere."""
    path = Path(str(file))
    if not file or path.parts[:1] != (FOLDER, ) or '..' in path.parts or path.suffix != '.jpg':
        return ''
    try:
        content = base64.b64encode((report.work_dir / path).read_bytes()).decode()
    except OSError:
        return ''
    below = f'<br><span class="note">{_text(text)}</span>' if text else ''
    return (f'<figure><button type="button" class="zoom"><img alt="{_text(title)}" '
            f'src="data:image/jpeg;base64,{content}"></button>'
            f'<figcaption>{_text(title)}{below}</figcaption></figure>')


def _skipped(report):
    """Steps and images that were not used."""
    steps = [f'step {step}: {problem}' for step, problem in report.skipped]
    images = [f'{entry["file"]}: {entry["problem"]}' + (' (used all the same)' if entry['used']
              else ' (not used)') for entry in report.bad_images]
    parts = [_list(counted(len(lines), word), lines) for word, lines in (
        ('skipped step', steps), ('bad image or annotation', images)) if lines]
    return _section('What was skipped', ''.join(parts) or '<p>Nothing.</p>')


def _list(title, lines):
    more = len(lines) - MOST_LISTED
    items = ''.join(f'<li>{_text(line)}</li>' for line in lines[-MOST_LISTED:])
    left = f'<p class="note">and {more} before them</p>' if more > 0 else ''
    return f'<h3>{_text(title)}</h3><ul>{items}</ul>{left}'


def _facts(report):
    facts = [(words, report.facts[key]) for key, words in FACTS.items()
             if report.facts.get(key) not in (None, '')]
    facts += [('work directory', report.work_dir)]
    starts = [f'{start.get("started", "")}' + (
        f' from {start["resumed"]}' if start.get('resumed') else '') + f', step {start["step"]}'
        for start in report.starts]
    facts += [('started', '; '.join(starts))] if starts else []
    rows = ''.join(f'<div><dt>{_text(words)}</dt><dd>{_text(value)}</dd></div>'
                   for words, value in facts)
    return _section('The run', f'<dl class="facts">{rows}</dl>')


def _section(title, content):
    return f'<section><h2>{title}</h2>{content}</section>'


PAGE = '''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body data-reload="{reload}">
{body}
<dialog><img alt=""></dialog>
<script>{script}</script>
</body>
</html>
'''
