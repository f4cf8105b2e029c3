"""Reading configs, work directories and benchmark files; each bad input has its error."""
import json
from pathlib import Path

import pytest
from example_results import (
    annotations,
    benchmark_report,
    detections,
    write_config,
    write_json,
    write_work_dir,
)

from convnext_dense.analysis.comparison import families, gather, read_results, short_names
from convnext_dense.cli import main
from convnext_dense.errors import InputError

CONFIGS = Path(__file__).parents[2] / 'configs'
TRUTH = annotations(pictures=12)


@pytest.fixture
def work_dir(tmp_path):
    return write_work_dir(tmp_path / 'run', 'tiny_convnext_shapes', detections(TRUTH), TRUTH)


def test_a_config_alone_has_complexity_and_published_figures():
    (model, ) = gather([CONFIGS / 'mask_rcnn' / 'mask-rcnn_convnext-t_fpn_amp-ms-crop-3x_coco.py'])
    assert model.published['box_ap'] == 46.2
    assert model.complexity.size == (800, 1280)
    assert not model.runs


def test_a_work_directory_has_config_curves_and_results(work_dir):
    (model, ) = gather([work_dir])
    (run, ) = model.runs
    assert model.name == 'tiny_convnext_shapes'
    assert run.curves['bbox'] == ([10, 20, 30], pytest.approx([15., 20., 25.]))
    assert run.curves['loss'][0] == list(range(1, 31))
    assert run.results['bbox'].figure()[0] > 10


def test_work_directories_of_one_config_are_its_seeds(tmp_path, work_dir):
    write_work_dir(tmp_path / 'again', 'tiny_convnext_shapes', detections(TRUTH, seed=2), TRUTH)
    (model, ) = gather([work_dir, tmp_path / 'again'])
    assert len(model.results('bbox')) == 2


def test_the_newest_results_count(work_dir):
    import os
    newer = work_dir / '20260102_000000' / 'evaluation'
    (work_dir / '20260101_000000' / 'evaluation').rename(work_dir / 'older')
    write_json(newer / 'annotations.json', TRUTH)
    write_json(newer / 'detections.bbox.json', [])
    summary = json.loads((work_dir / 'older' / 'detection.json').read_text())
    os.utime(work_dir / 'older' / 'detection.json', (0, 0))
    write_json(newer / 'detection.json', summary)
    (model, ) = gather([work_dir])
    assert model.results('bbox')[0].figure()[0] == 0


def test_resumed_trainings_are_one_curve(work_dir):
    scalars = work_dir / '20260102_000000' / 'vis_data' / 'scalars.json'
    scalars.parent.mkdir(parents=True)
    scalars.write_text('{"coco/bbox_mAP": 0.5, "step": 30}\n{"coco/bbox_mAP": 0.6, "step": 40}\n')
    (model, ) = gather([work_dir])
    steps, values = model.runs[0].curves['bbox']
    assert steps == [10, 20, 30, 40] and values[2:] == [50., 60.]


def test_a_benchmark_belongs_to_the_model_of_its_name(tmp_path, work_dir):
    report = write_json(tmp_path / 'b.json', benchmark_report(['tiny_convnext_shapes']))
    (model, ) = gather([report, work_dir])
    assert model.speed['inference']['images_per_s']['median'] == 10.
    assert model.complexity.size == (160, 160)


def test_segmentation_results(tmp_path):
    summary = write_json(tmp_path / 'segmentation.json', dict(
        format='convnext_dense.segmentation/1', classes=['wall', 'floor'], pictures=[
            dict(name='a', classes=[0, 1], intersection=[30, 10], prediction=[50, 20],
                 label=[40, 40]),
            dict(name='b', classes=[1], intersection=[5], prediction=[5], label=[10])]))
    result = read_results(summary)['mIoU']
    assert result.by_class() == pytest.approx(dict(wall=100 * 30 / 60, floor=100 * 15 / 60))


def bad_no_results(tmp_path):
    write_config(tmp_path / 'run' / 'tiny.py')
    return [tmp_path / 'run']


def bad_no_config(tmp_path):
    (tmp_path / 'empty').mkdir()
    return [tmp_path / 'empty']


def bad_unknown_model(tmp_path):
    return [write_config(tmp_path / 'tiny.py'),
            write_json(tmp_path / 'b.json', benchmark_report(['other']))]


def bad_pictures(tmp_path):
    other = annotations(pictures=11)
    return [write_work_dir(tmp_path / 'a', 'x_a', detections(TRUTH), TRUTH),
            write_work_dir(tmp_path / 'b', 'x_b', detections(other), other)]


def bad_classes(tmp_path):
    return [write_work_dir(tmp_path / 'a', 'x_a', detections(TRUTH), TRUTH),
            write_work_dir(tmp_path / 'b', 'x_b', detections(TRUTH), TRUTH,
                           classes=('disc', 'ring', 'moon'))]


def bad_benchmark(tmp_path):
    return [write_config(tmp_path / 'tiny.py'), write_json(tmp_path / 'b.json', {'a': 1})]


def bad_format(tmp_path):
    folder = write_work_dir(tmp_path / 'a', 'x_a', detections(TRUTH), TRUTH)
    write_json(folder / 'later' / 'detection.json', dict(format='other/2'))
    return [folder]


def bad_annotations(tmp_path):
    folder = write_work_dir(tmp_path / 'a', 'x_a', detections(TRUTH), TRUTH)
    next(folder.rglob('annotations.json')).unlink()
    return [folder]


def bad_path(tmp_path):
    return [tmp_path / 'nowhere']


def bad_kind(tmp_path):
    (tmp_path / 'notes.txt').write_text('')
    return [tmp_path / 'notes.txt']


@pytest.mark.parametrize('make, message', [
    (bad_no_results, 'no results (detection.json or segmentation.json)'),
    (bad_no_config, 'no config (.py) in it'),
    (bad_unknown_model, "unknown model 'other'; the configs and work directories here describe "
                        'tiny'),
    (bad_pictures, 'was evaluated on 12 pictures, x_b on 11'),
    (bad_classes, 'differ in moon, star'),
    (bad_benchmark, 'not a file of tools/analysis/benchmark.py'),
    (bad_format, "format 'other/2'"),
    (bad_annotations, 'annotations.json are not there'),
    (bad_path, 'no such file or folder'),
    (bad_kind, 'neither a config')])
def test_bad_input_is_one_clear_line(make, message, tmp_path, capsys):
    paths = [str(path) for path in make(tmp_path)]
    assert main(['compare', *paths, '--out', str(tmp_path / 'out'), '--no-static']) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.splitlines()[-1].startswith('error: ')


def test_too_few_resamples_are_refused(capsys):
    assert main(['compare', 'x.py', '--resamples', '10']) == 2
    assert 'give 100 or more' in capsys.readouterr().err


def test_no_model_is_an_error():
    with pytest.raises(InputError, match='no model'):
        gather([])


class Named:
    def __init__(self, name):
        self.name = name


@pytest.mark.parametrize('names, labels', [
    (['mask_convnext-t_coco', 'mask_swin-t_coco'], ['convnext-t', 'swin-t']),
    (['a_x_1', 'a_x_2'], ['1', '2']),
    (['a_x', 'a_x_2'], ['a_x', 'a_x_2']),
    (['only'], ['only'])])
def test_labels_are_what_tells_the_names_apart(names, labels):
    assert list(short_names([Named(name) for name in names]).values()) == labels


def test_families_share_the_letters_before_the_size():
    index, names = families(dict(a='convnext-t', b='convnext-b', c='convnextv2-b', d='swin-t',
                                 e='r50'))
    assert names == ['convnext', 'convnextv2', 'swin', 'r50']
    assert index == dict(a=0, b=0, c=1, d=2, e=3)
