"""The report, as a reader's browser shows it: from disk, without network, at two widths."""
import json
import re
import shutil

import numpy as np
import plotly.graph_objects as go
import pytest
from browsing import BROWSERS, DESKTOP, PHONE, chromium, requested, screenshot
from example_results import annotations, benchmark_report, detections, write_json, write_work_dir

from convnext_dense.analysis import palette
from convnext_dense.analysis.bubbles import bubble_chart
from convnext_dense.analysis.comparison import Model, gather
from convnext_dense.analysis.comparison_table import figure_columns
from convnext_dense.analysis.complexity import Complexity, Part
from convnext_dense.analysis.imagenet_chart import imagenet_chart
from convnext_dense.analysis.labels import short_names
from convnext_dense.analysis.report import write_report
from convnext_dense.config_files import FOLDER

NAMES = ('tiny_convnext_shapes', 'tiny_swin_shapes', 'tiny_resnet_shapes')
CHARTS = {'bbox-by-multiply-adds', 'bbox-by-parameters', 'bbox-by-throughput', 'bbox-by-latency',
          'bbox-by-memory', 'bbox-differences', 'bbox-curve', 'bbox-by-time', 'bbox-by-size',
          'bbox-by-class', 'loss-curve', 'inference-stages', 'training-stages'}


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """Folder of a report on three models; the first has two seeds, the last is the worst."""
    folder = tmp_path_factory.mktemp('comparison')
    truth = annotations(images=80)
    runs = [('a', NAMES[0], 8, dict()), ('b', NAMES[0], 8, dict(seed=2)),
            ('c', NAMES[1], 16, dict(seed=3)), ('d', NAMES[2], 12, dict(found=.5, seed=4))]
    paths = [write_work_dir(folder / run, name, detections(truth, **options), truth, channels,
                            seed=options.get('seed', 1))
             for run, name, channels, options in runs]
    paths += [write_json(folder / f'{mode}.json', benchmark_report(NAMES, mode))
              for mode in ('inference', 'training')]
    write_report(gather(paths), folder / 'report', 'Shapes <3', resamples=300, static=False)
    return folder / 'report'


def test_the_page_links_to_the_reports_of_the_trainings(tmp_path):
    truth = annotations(images=8)
    work = write_work_dir(tmp_path / 'a b', NAMES[0], detections(truth), truth, 8)
    (work / 'report.html').write_text('a report')
    write_report(gather([work]), tmp_path / 'report', resamples=100, static=False)
    page = (tmp_path / 'report/report.html').read_text()
    assert re.findall(r'<a href="([^"]+)">', page) == ['../a%20b/report.html']


def test_names_of_files_are_neither_markup_nor_control_characters(tmp_path):
    truth = annotations(images=8)
    truth['categories'][0]['name'] = '\x1b[2J\n<script>x</script>'
    work = write_work_dir(tmp_path / 'a\x1b[2J', NAMES[0], detections(truth), truth, 8)
    (work / 'report.html').write_text('a report')
    write_report(gather([work]), tmp_path / 'report', resamples=100, static=False)
    for name in ('report.html', 'report.md'):
        page = (tmp_path / 'report' / name).read_text()
        assert '\x1b' not in page and '<script>x' not in page
        assert 'a\\x1b[2J' in page


@pytest.fixture(scope='module')
def figures(report):
    """The charts of the page by name."""
    page = (report / 'report.html').read_text()
    return {name: go.Figure(json.loads(chart.replace('<\\/', '</'))) for chart, name in re.findall(
        r'var chart = (\{.*?\});\nPlotly.newPlot\("([^"]+)"', page)}


def test_every_chart_is_there(figures):
    assert set(figures) == CHARTS


def test_bubbles_have_the_area_of_the_multiply_adds(figures, report):
    models = {trace.name: trace for trace in figures['bbox-by-parameters'].data}
    assert set(models) == {'convnext', 'swin', 'resnet'}
    table = (report / 'report.md').read_text().splitlines()
    head = next(line for line in table if line.startswith('| model')).split(' | ')
    column = next(i for i, cell in enumerate(head) if cell.startswith('multiply-adds G, counted'))
    macs = {line.split(' | ')[0][2:]: float(line.split(' | ')[column]) for line in table
            if line.startswith(('| convnext |', '| swin |', '| resnet |'))
            and len(line.split(' | ')) == len(head)}
    areas = {name: trace.marker.size[0]**2 for name, trace in models.items()}
    for name in ('convnext', 'resnet'):
        assert areas[name] / areas['swin'] == pytest.approx(macs[name] / macs['swin'], rel=.05)


def test_accuracy_stands_at_the_seconds_that_it_took(figures):
    """Steps of 0.5 s; validations at the steps 10, 20 and 30."""
    for trace in figures['bbox-by-time'].data:
        assert list(trace.x) == pytest.approx([5., 10., 15.])


def test_costs_that_are_alike_are_drawn_from_zero(figures):
    """300, 320 and 340 MiB are not spread over the axis; a factor of two and more is."""
    assert list(figures['bbox-by-memory'].layout.xaxis.range) == pytest.approx([0, 1.3 * 340])
    assert figures['bbox-by-multiply-adds'].layout.xaxis.range[1] > 0


def test_models_that_learned_nothing_are_drawn_all_the_same():
    models = [Model(name, name, published=dict(box_ap=0.), complexity=Complexity(
        (64, 64), 0, 0, dict(backbone=Part(10**6, 10**9)))) for name in ('a', 'b')]
    figure = bubble_chart(models, short_names(models), 'bbox', 'parameters')
    assert list(figure.layout.yaxis.range) == [0., 1.]


def test_seeds_give_a_bubble_its_error_bar(figures):
    bars = {trace.name: trace.error_y.array[0] for trace in figures['bbox-by-memory'].data}
    assert bars['convnext'] > 0 == bars['swin'] == bars['resnet']
    (convnext, ) = (trace for trace in figures['bbox-by-memory'].data if trace.name == 'convnext')
    assert convnext.customdata[0][1].endswith('measured with 2 seeds')


def test_published_models_share_the_colour_of_their_family():
    names = [f'convnext-{size}' for size in 'tsbl'] + ['convnext-l-in22k', 'swin-t', 'swin-s']
    models = [Model(name, name, published=dict(box_ap=50.), complexity=Complexity(
        (800, 1280), 1000, 100, dict(backbone=Part(10**6, 10**9)))) for name in names]
    figure = bubble_chart(models, short_names(models), 'bbox', 'multiply-adds')
    assert {trace.name: list(trace.text) for trace in figure.data} == {
        'convnext': ['T', 'S', 'B', 'L'], 'convnext-in22k': ['L'], 'swin': ['T', 'S']}
    assert all(colour.endswith(',0.2)') for trace in figure.data for colour in trace.marker.color)
    assert not bubble_chart(models, short_names(models), 'bbox', 'throughput').data


def test_published_rows_begin_with_the_papers_first_figure(tmp_path):
    configs = ['upernet_swin-t_8xb2-160k_ade20k-512x512.py',
               'upernet_convnext-t_8xb2-amp-160k_ade20k-512x512.py']
    write_report(gather([str(FOLDER / 'upernet' / name) for name in configs]), tmp_path,
                 resamples=100, static=False)
    page = (tmp_path / 'report.html').read_text()
    assert re.search(r'<section class="charts">\s*<figure>.*?id="(.*?)"', page)[1] == 'imagenet'
    report = (tmp_path / 'report.md').read_text()
    assert '- published in arXiv 2201.03545: upernet_swin-t' in report
    assert 'github.com/facebookresearch/ConvNeXt-V2' in report


def test_every_classifier_has_its_accuracy_flops_and_source():
    figure = imagenet_chart()
    assert [trace.name for trace in figure.data] == [
        'ConvNeXt', 'ConvNeXt, ImageNet-22k first', 'ConvNeXt V2',
        'ConvNeXt V2, ImageNet-22k first', 'Swin', 'Swin, ImageNet-22k first']
    convnext = figure.data[0]
    assert list(convnext.text) == ['T', 'S', 'B', 'L']
    assert list(convnext.y) == [82.1, 83.1, 83.8, 84.3]
    assert list(convnext.x) == [4.5, 8.7, 15.4, 34.4]
    areas = np.square(convnext.marker.size)
    assert areas[3] / areas[0] == pytest.approx(34.4 / 4.5)
    for trace in figure.data:
        assert all(source.startswith('github.com/') for _, source in trace.customdata)
        low, high = figure.layout.yaxis.range
        assert all(low < value < high for value in trace.y)


def test_small_counts_keep_three_digits():
    models = [Model('a', 'a', complexity=Complexity((64, 64), 0, 0, dict(backbone=Part(
        2_246_604, 45_797_952)))), Model('b', 'b', complexity=Complexity((64, 64), 0, 0, dict(
            backbone=Part(740_690, 740_690_000_000))))]
    columns = figure_columns(models, [])
    assert columns['multiply-adds G, counted'] == ['0.0458', '740.69']
    assert columns['parameters M, counted'] == ['2.25', '0.741']


def test_hover_names_the_point(figures):
    for name, figure in figures.items():
        for trace in figure.data:
            assert '<b>' in trace.hovertemplate, name


def test_charts_use_the_checked_colours_alone(figures):
    allowed = {colour.lower() for colour in palette.COLOURS}
    for name, figure in figures.items():
        for trace in figure.data:
            for colour in (trace.marker.color, getattr(trace, 'line', None) and trace.line.color):
                if isinstance(colour, str) and not colour.startswith('rgba'):
                    assert colour.lower() in allowed, name


def test_models_of_a_chart_differ_in_colour_and_in_shape(figures):
    for name in ('bbox-curve', 'bbox-by-class', 'loss-curve'):
        looks = {trace.name: (trace.line.color or trace.marker.color,
                              trace.line.dash or trace.marker.symbol)
                 for trace in figures[name].data}
        colours, shapes = zip(*looks.values())
        assert len(set(colours)) == len(set(shapes)) == len(looks) == 3
    for name in ('bbox-by-size', 'inference-stages', 'training-stages'):
        patterns = [trace.marker.pattern.shape for trace in figures[name].data]
        assert len(set(patterns)) == len(patterns)


def test_findings_are_written_out(report):
    text = (report / 'report.md').read_text()
    assert '| box AP | resnet against convnext | ' in text and 'resnet is worse' in text
    assert '(2 seeds)' in text
    assert '## box AP by size of the object' in text and '| small |' in text
    assert 'a processor, 2 cores' in text
    found = json.loads((report / 'comparison.json').read_text())['bbox']
    assert [item['finding'] for item in found if item['second'] == NAMES[2]] == ['worse', 'worse']


def test_one_seed_is_said_where_the_verdict_stands(report):
    """The first model has two seeds, the others one."""
    rows = [line.split(' | ') for line in (report / 'report.md').read_text().splitlines()
            if ' against ' in line]
    assert len(rows) == 3
    for row in rows:
        assert row[4].startswith('one seed: no verdict about the backbones, only about these two '
                                 'files: ')
        assert row[5] == 'unknown from one seed |'


def test_the_page_names_nothing_outside_itself(report):
    page = (report / 'report.html').read_text()
    assert 'Shapes &lt;3' in page
    outside = re.sub(r'<script>.*?</script>', '', page, flags=re.S)
    assert not re.search(r'(src|href)="(?!data:)', outside)


@pytest.fixture(scope='module', params=[PHONE, DESKTOP], ids=['phone', 'desktop'])
def browser(request, report, tmp_path_factory):
    """A headless Chromium that has opened the page offline at this width."""
    with chromium(request.param, tmp_path_factory.mktemp('profile')) as browser:
        browser.get((report / 'report.html').as_uri())
        wait_until_drawn(browser)
        yield browser


def wait_until_drawn(browser):
    from selenium.webdriver.support.ui import WebDriverWait
    WebDriverWait(browser, 60).until(lambda b: b.execute_script(
        'return document.readyState == "complete" && '
        f'document.querySelectorAll("figure .main-svg").length >= {len(CHARTS)}'))


def test_every_chart_is_drawn_with_all_its_points(browser, figures):
    for name, figure in figures.items():
        drawn = browser.execute_script('''
            const chart = document.getElementById(arguments[0]);
            const box = chart.querySelector('.main-svg').getBoundingClientRect();
            return {width: box.width, height: box.height,
                    traces: chart.querySelectorAll('.trace').length,
                    marks: chart.querySelectorAll(
                        '.point path, path.point, .js-line').length};''', name)
        assert drawn['width'] > 300 and drawn['height'] > 150, name
        assert drawn['traces'] == len(figure.data), name
        assert drawn['marks'] >= len(figure.data), name


def test_every_model_and_stage_shows_its_colour(browser, figures):
    for name, figure in figures.items():
        colours = {trace.marker.line.color if name.startswith('bbox-by') and trace.error_y.array
                   else trace.marker.color or trace.line.color for trace in figure.data}
        pixels = screenshot(browser, f'[id="{name}"]')
        for colour in colours:
            rgb = [int(colour[i:i + 2], 16) for i in (1, 3, 5)]
            assert (np.abs(pixels - rgb).max(axis=2) < 40).sum() > 40, (name, colour)


def test_the_page_fits_the_width(browser):
    page, charts = browser.execute_script('''
        return [document.documentElement.scrollWidth,
                [...document.querySelectorAll('figure')].map(figure => {
                    const frame = figure.getBoundingClientRect();
                    const chart = figure.querySelector('.main-svg').getBoundingClientRect();
                    return [frame.left, frame.right, chart.left, chart.right]; })];''')
    assert page <= browser.width
    for frame_left, frame_right, left, right in charts:
        assert 0 <= frame_left <= left + 1 and right <= frame_right + 1 <= browser.width + 1


def test_text_can_be_read(browser):
    sizes = browser.execute_script('''
        return [...document.querySelectorAll('p, td, th, li, figcaption, svg text')]
            .filter(item => item.textContent.trim())
            .map(item => [parseFloat(getComputedStyle(item).fontSize), item.textContent]);''')
    assert len(sizes) > 100
    assert min(sizes)[0] >= 11, min(sizes)


def test_labels_of_an_axis_do_not_overlap(browser):
    overlaps = browser.execute_script('''
        const found = [];
        for (const axis of document.querySelectorAll('.xaxislayer-above, .yaxislayer-above')) {
            const boxes = [...axis.querySelectorAll('text')].map(
                text => [text.textContent, text.getBoundingClientRect()]);
            for (let i = 1; i < boxes.length; i++) {
                const [a, b] = [boxes[i - 1][1], boxes[i][1]];
                if (a.right > b.left + 1 && b.right > a.left + 1 &&
                    a.bottom > b.top + 1 && b.bottom > a.top + 1)
                    found.push([axis.closest('figure').textContent.slice(0, 40),
                                boxes[i - 1][0], boxes[i][0]]);
            }
        }
        return found;''')
    assert overlaps == []


def test_nothing_is_fetched_and_nothing_fails(browser):
    assert browser.get_log('browser') == []
    urls = requested(browser)
    assert urls and all(url.startswith(('file:', 'data:', 'blob:')) for url in urls)


def test_hovering_shows_the_model(browser):
    shown = browser.execute_script('''
        const chart = document.getElementById('bbox-by-parameters');
        Plotly.Fx.hover(chart, [{curveNumber: 0, pointNumber: 0}]);
        return chart.querySelector('.hoverlayer').textContent;''')
    assert NAMES[0] in shown and 'box AP' in shown


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason='no Chromium, which kaleido '
                    'draws with (Debian: apt-get install chromium)')
def test_charts_are_saved_as_png_and_svg(report, figures, tmp_path):
    from convnext_dense.analysis.report import write_static
    pytest.importorskip('kaleido', reason='kaleido is not installed (extra: report)')
    charts = {name: (name, figures[name]) for name in ('bbox-by-size', 'bbox-by-memory')}
    write_static(charts, tmp_path / 'charts', pytest.fail)
    for name in charts:
        assert (tmp_path / 'charts' / f'{name}.png').read_bytes().startswith(b'\x89PNG')
        assert '<svg' in (tmp_path / 'charts' / f'{name}.svg').read_text()


def test_without_a_browser_the_page_is_still_written(tmp_path, figures, monkeypatch):
    import plotly.io

    from convnext_dense.analysis.report import write_static

    def no_chrome(*args, **kwargs):
        raise RuntimeError('Kaleido requires Google Chrome to be installed.')
    monkeypatch.setattr(plotly.io, 'write_images', no_chrome)
    said = []
    write_static({'a': ('A', figures['inference-stages'])}, tmp_path / 'charts', said.append)
    assert said and 'plotly_get_chrome' in said[0]
