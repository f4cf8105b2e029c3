"""Reading configs, work directories and benchmark files; each bad input has its error."""
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from example_results import (
    annotations,
    benchmark_report,
    detections,
    write_config,
    write_json,
    write_work_dir,
)

from convnext_dense.analysis.comparison import gather, split_name
from convnext_dense.analysis.run_files import read_results
from convnext_dense.cli import main
from convnext_dense.errors import InputError

CONFIGS = Path(__file__).parents[2] / 'configs'
TRUTH = annotations(images=12)


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
    write_work_dir(tmp_path / 'other', 'tiny_swin_shapes', detections(TRUTH, seed=3), TRUTH)
    models = gather([work_dir, tmp_path / 'again', tmp_path / 'other'])
    assert [len(model.results('bbox')) for model in models] == [2, 1]


def test_seeds_that_differ_in_their_recipe_are_refused(tmp_path, work_dir):
    write_work_dir(tmp_path / 'wider', 'tiny_convnext_shapes', detections(TRUTH), TRUTH,
                   channels=16)
    with pytest.raises(InputError, match='differ in model; name them apart'):
        gather([work_dir, tmp_path / 'wider', tmp_path / 'wider' / 'tiny_convnext_shapes.py'])


def test_names_make_models_and_seeds_of_any_work_directories(tmp_path, work_dir):
    for run in 'bc':
        write_work_dir(tmp_path / run, 'tiny_convnext_shapes', detections(TRUTH, seed=2), TRUTH)
    first, second = gather([f'Mine={work_dir}', f'Mine={tmp_path / "b"}', f'Yours={tmp_path / "c"}',
                            write_json(tmp_path / 'b.json',
                                       benchmark_report(['tiny_convnext_shapes']))])
    assert (first.name, len(first.runs), second.name, len(second.runs)) == ('Mine', 2, 'Yours', 1)
    assert first.speed and second.speed


def test_runs_of_one_config_alone_are_compared_with_each_other(tmp_path, work_dir):
    write_work_dir(tmp_path / 'again', 'tiny_convnext_shapes', detections(TRUTH, seed=2), TRUTH)
    assert [model.name for model in gather([work_dir, tmp_path / 'again'])] == ['run', 'again']


def test_a_path_with_an_equals_sign_is_a_path(tmp_path):
    (tmp_path / 'lr=1').mkdir()
    for text in (tmp_path / 'lr=1', 'runs/lr=1'):
        assert split_name(str(text)) == (None, Path(text))
    assert split_name('lr=runs/1') == ('lr', Path('runs/1'))


def verdicts(paths, tmp_path):
    out = tmp_path / 'out'
    assert main(['compare', *map(str, paths), '--out', str(out), '--no-static']) == 0
    return json.loads((out / 'comparison.json').read_text())['bbox']


def test_identical_results_show_no_difference(tmp_path, work_dir):
    shutil.copytree(work_dir, tmp_path / 'copy')
    (found, ) = verdicts([work_dir, tmp_path / 'copy'], tmp_path)
    assert (found['verdict'], found['finding']) == ('one seed', 'no difference')
    assert found['low'] <= 0 <= found['high']


def test_a_result_without_five_percent_of_its_boxes_is_found_worse(tmp_path):
    truth = annotations(images=150)
    boxes = detections(truth)
    kept = np.random.default_rng(0).random(len(boxes)) >= .05
    paths = [write_work_dir(tmp_path / name, 'tiny_convnext_shapes', found, truth)
             for name, found in (('whole', boxes),
                                 ('dropped', [box for box, keep in zip(boxes, kept) if keep]))]
    (found, ) = verdicts(paths, tmp_path)
    assert (found['first'], found['second'], found['finding']) == ('whole', 'dropped', 'worse')
    assert found['high'] < 0


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
        format='convnext_dense.segmentation/1', classes=['wall', 'floor'], images=[
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


def bad_images(tmp_path):
    other = annotations(images=11)
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


def bad_measurement(tmp_path):
    report = benchmark_report(['tiny'])
    del report['models'][0]['stages_ms']
    return [write_config(tmp_path / 'tiny.py'), write_json(tmp_path / 'b.json', report)]


def bad_name(tmp_path):
    return [f'x={write_json(tmp_path / "b.json", benchmark_report(["tiny"]))}']


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
    (bad_images, 'was evaluated on 12 images, x_b on 11'),
    (bad_classes, 'differ in moon, star'),
    (bad_benchmark, 'not a file of convnext-dense benchmark'),
    (bad_measurement, "KeyError: 'stages_ms'"),
    (bad_name, 'a benchmark file names its models itself'),
    (bad_format, "format 'other/2'"),
    (bad_annotations, 'annotations.json are not there'),
    (bad_path, 'no such file'),
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


def test_a_wanted_width_is_above_zero(capsys):
    assert main(['compare', 'x.py', '--wanted', '0']) == 2
    assert 'points of AP or mIoU above 0' in capsys.readouterr().err


@pytest.mark.parametrize('arguments', [[], ['--demo', 'x.py']])
def test_paths_or_demo_is_needed(arguments, capsys):
    assert main(['compare', *arguments]) == 2
    assert 'or give --demo alone' in capsys.readouterr().err


def test_no_model_is_an_error():
    with pytest.raises(InputError, match='no model'):
        gather([])
