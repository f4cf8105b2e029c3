"""The curves of a work directory."""
import json

import cv2

from convnext_dense.analysis.training_curves import (
    chosen_figures,
    read_points,
    write_training_curves,
)


def write(work_dir, run, *rows):
    folder = work_dir / run / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)) + '\n{"loss": 0.')


def train(step, loss, **more):
    return dict(lr=.01, data_time=.1, loss=loss, loss_cls=loss / 2, iter=step, step=step, **more)


def test_a_resumed_run_goes_on_where_the_first_was_stopped(tmp_path):
    write(tmp_path, '20261126_100000', train(10, 3.), train(20, 2.), {'mIoU': 40., 'step': 20},
          train(30, 1.5))
    write(tmp_path, '20261126_110000', train(30, 1.4), {'mIoU': 50., 'step': 40})
    points = read_points(tmp_path)
    assert points['loss'] == [(10, 3.), (20, 2.), (30, 1.4)]
    assert points['mIoU'] == [(20, 40.), (40, 50.)]


def test_a_validation_written_down_by_epoch_stands_behind_its_steps(tmp_path):
    write(tmp_path, 'run', train(100, 3., epoch=1), {'coco/bbox_mAP': .1, 'step': 1},
          train(200, 2., epoch=2), {'coco/bbox_mAP': .2, 'step': 2})
    assert read_points(tmp_path)['coco/bbox_mAP'] == [(100, .1), (200, .2)]


def test_the_figures_that_people_ask_for_are_drawn():
    row = dict.fromkeys(['lr', 'time', 'loss', 'loss_cls', 'acc', 'decode.acc_seg',
                         'coco/bbox_mAP_75', 'coco/segm_mAP', 'coco/bbox_mAP'], [(1, .1)])
    assert chosen_figures(row) == ['coco/bbox_mAP', 'coco/segm_mAP']
    assert chosen_figures(dict.fromkeys(['lr', 'loss', 'score'], [(1, .1)])) == ['score']


def test_the_image_has_a_panel_for_losses_rate_and_figures(tmp_path):
    write(tmp_path, 'run', train(10, 3.), train(20, 2.), {'mIoU': 40., 'step': 20})
    path = write_training_curves(tmp_path)
    assert path == tmp_path / 'curves.png'
    height, width = cv2.imread(str(path)).shape[:2]
    assert width > 3.5 * height


def test_where_nothing_was_written_down_there_is_no_image(tmp_path):
    assert write_training_curves(tmp_path) is None and not list(tmp_path.iterdir())
