"""The page of a run, from a work directory as data."""
import re

import pytest
from example_run import LOG, scalars, step, whole_run

from convnext_dense import InputError
from convnext_dense.analysis.run_report import write_run_report
from convnext_dense.analysis.run_report.charts import charts_of, loss_parts, throughput, waiting
from convnext_dense.analysis.run_report.gathering import RunReport, gather
from convnext_dense.analysis.run_report.page import best_figure, duration, shown
from convnext_dense.analysis.run_report.record import Record
from convnext_dense.runtime.lock import WorkDirLock


def test_a_page_shows_what_a_run_did(tmp_path):
    whole_run(tmp_path)
    page = write_run_report(tmp_path).read_text()
    text = re.sub(r'<[^>]+>', ' ', page)
    for words in ('finished', 'mine.py', 'best bbox_mAP', '0.3', 'at step 20', '0.2 at step 40',
                  'images per second', '16', '1 step, 1 image', '20% of the time is waiting',
                  'epoch 2.0 of 2', 'neck ... bbox_head', 'loss_bbox', 'step 15: the loss is NaN',
                  'is torn (not used)', '2 missed', 'Of the 8 images that the main process saw'):
        assert words in text, words
    assert 'of another run' not in text
    assert page.count('<img alt="annotated"') == 1
    # the newest prediction stands beside the annotations
    assert re.findall(r'<img alt="(annotated|step \d+)"', page) == [
        'annotated', 'step 40', 'step 20']
    assert 'data-reload="0"' in page


def test_names_of_files_are_text(tmp_path):
    whole_run(tmp_path)
    record = Record(tmp_path, 'abc')
    record.append('end', step=40, state='failed', text='</style><script>alert(2)</script>\x1b[31m')
    scalars(tmp_path, step(10), dict(step(20), **{'<b>loss_x</b>': 1.}))
    page = write_run_report(tmp_path).read_text()
    assert 'onerror=alert(1)>' not in page and '&lt;img src=x onerror=alert(1)&gt;.png' in page
    assert '<script>alert(2)' not in page and '<b>loss_x' not in page and '\x1b' not in page
    assert page.count('<script') == page.count('</script>')
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing from elsewhere


def test_drawings_come_from_the_reports_folder_only(tmp_path):
    work = tmp_path / 'work'
    work.mkdir()
    record = whole_run(work)
    (tmp_path / 'secret.jpg').write_bytes(b'secret')
    for file in ('../secret.jpg', 'report/../../secret.jpg', str(tmp_path / 'secret.jpg'),
                 'report/record.jsonl', ['report'], None, 'report/images/gone.jpg'):
        record.append('validation', step=41, seconds=1, scored=1, worst=['text', dict(file=file)],
                      samples=[3, dict(name='a', file=file, truth=file)])
        page = write_run_report(work).read_text()
        assert page.count('src="data:image') == 3  # of the steps before


def test_a_run_goes_on_where_it_was_resumed(tmp_path):
    record = whole_run(tmp_path)
    second = '20261127_090000'
    record.append('start', log=second, step=20, rates=['neck ... bbox_head', 'backbone'],
                  facts=dict(resumed='iter_20.pth', max_iters=60, batch=4, processes=1))
    record.append('rates', step=30, rates=[1., 2.], memory=950.)
    scalars(tmp_path, step(30, 7.), step(50, 6.), log=second)
    scalars(tmp_path, step(10, 99.), log='20261127_070000')  # a run before this one
    report = gather(tmp_path)
    assert report.points['loss'] == [(10, 4.), (20, 3.), (30, 7.), (40, 1.), (50, 6.)]
    assert report.rates['backbone'] == [(10, 1e-5), (20, 5e-6), (30, 2.), (40, 2.5e-6)]
    assert report.memory[2] == (30, 950.) and report.step == 50
    assert report.state == 'killed'  # neither an end nor a lock
    assert 'from iter_20.pth, step 20' in write_run_report(tmp_path).read_text()


def test_a_page_reloads_itself_while_the_training_holds_the_folder(tmp_path):
    record = whole_run(tmp_path)
    record.append('start', log=LOG, step=40, rates=[], facts={})
    lock = WorkDirLock(tmp_path)
    lock.acquire()
    try:
        assert 'data-reload="30"' in write_run_report(tmp_path).read_text()
    finally:
        lock.release()
    page = write_run_report(tmp_path).read_text()
    assert 'data-reload="0"' in page and 'ended without a word' in page


def test_a_training_of_an_earlier_version_has_its_curves(tmp_path):
    scalars(tmp_path, step(10, 4.), step(20, 2.), {'mIoU': 40., 'step': 20})
    page = write_run_report(tmp_path, tmp_path / 'elsewhere.html').read_text()
    assert 'best mIoU' in page and 'loss_cls' in page and not (tmp_path / 'report.html').exists()


def test_a_folder_without_a_training_is_refused(tmp_path):
    with pytest.raises(InputError, match='no training wrote anything here'):
        write_run_report(tmp_path)


def report_of(**values):
    return RunReport(**dict(dict(work_dir=None, state='', text='', step=0, points={}), **values))


def test_parts_of_the_loss_are_few_and_their_sum_is_kept():
    cascade = {'loss': [(1, 9.)], 'acc': [(1, 1.)], 's0.loss_cls': [(1, 2.)],
               's0.loss_bbox': [(1, 3.)]}
    assert list(loss_parts(cascade)) == ['s0.loss_bbox', 's0.loss_cls']
    dino = {'loss': [(1, 9.)], 'loss_cls': [(1, 1.)], 'd0.loss_cls': [(1, 2.)],
            'd4.loss_bbox': [(1, 3.)]}
    assert loss_parts(dino) == {'auxiliary layers (2 losses)': [(1, 5.)], 'loss_cls': [(1, 1.)]}
    many = {f'loss_{index:02}': [(1, float(index))] for index in range(1, 21)}
    parts = loss_parts(many)
    assert len(parts) == 12 and list(parts)[0] == 'loss_20'
    assert parts['9 others'] == [(1, 45.)]
    assert sum(points[0][1] for points in parts.values()) == sum(range(1, 21))
    assert loss_parts({'loss': [(1, 1.)], 'decode.loss_ce': [(1, 1.)]}) == {}


def test_images_a_second_count_all_processes():
    report = report_of(points=dict(time=[(1, .5), (2, 2.)], data_time=[(1, .1), (2, .4)]),
                       starts=[dict(batch=4, processes=2)])
    assert throughput(report) == [(1, 16.), (2, 4.)]
    assert waiting(report.points) == '20% of the time is waiting for data'
    assert throughput(report_of(points=dict(time=[(1, .5)]))) == []


def test_charts_without_data_are_left_out():
    report = report_of(points=dict(loss=[(1, 2.)], grad_norm=[(1, 3.)]))
    assert [chart.title for chart in charts_of(report)] == ['Loss', 'Norm of the gradient']


def test_figures_are_named_without_their_metric_where_that_is_clear():
    def names(*figures):
        report = report_of(points={name: [(1, .5)] for name in figures})
        return [name for chart in charts_of(report) for name in chart.curves]
    assert names('coco/bbox_mAP', 'coco/segm_mAP') == ['bbox_mAP', 'segm_mAP']
    assert names('a/mIoU', 'b/mIoU') == ['a/mIoU', 'b/mIoU']


@pytest.mark.parametrize('facts, expected', [
    (dict(monitor='mIoU', rule='greater'), ('best mIoU', '50', 'at step 2; 45 at step 3')),
    (dict(monitor='error', rule='less'), ('best error', '1', 'at step 3')),
    (dict(monitor='gone'), ('best mIoU', '50', 'at step 2; 45 at step 3')),
    ({}, ('best mIoU', '50', 'at step 2; 45 at step 3'))])
def test_the_best_figure_is_that_of_the_best_weights(facts, expected):
    report = report_of(points=dict(mIoU=[(1, 40.), (2, 50.), (3, 45.)],
                                   error=[(1, 4.), (2, 2.), (3, 1.)]), starts=[facts])
    assert best_figure(report) == expected


def test_of_many_validations_a_few_are_shown_the_newest_first():
    steps = [line['step'] for line in shown([dict(step=number) for number in range(1, 37)])]
    assert len(steps) == 8 and steps[0] == 36 and steps[-1] == 1
    assert steps == sorted(steps, reverse=True)
    assert shown([]) == []


@pytest.mark.parametrize('seconds, text', [
    (.32, '0.3 s'), (45, '45 s'), (125, '2:05 min'), (12000, '3:20 h'), (90000, '1 day, 1:00 h')])
def test_durations(seconds, text):
    assert duration(seconds) == text
