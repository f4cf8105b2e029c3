"""Which losses stay the same when a batch is cut into processes, or into steps together.

The mean over two processes with one image each, against both images in one process: one has 2
objects and one 8. docs/scaling.md has the table.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OBJECTS = 2, 8
QUERIES, NO_OBJECT = 40, .1  # of the Mask2Former, and the weight of a query without an object
LABELLED = 128 * 16, 128 * 128  # pixels


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    ended = subprocess.run(
        [sys.executable, HERE / 'cut_losses.py', tmp_path_factory.mktemp('cut')], timeout=300,
        capture_output=True, text=True, env=dict(
            os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='',
            PYTHONPATH=os.pathsep.join([str(HERE), str(HERE.parents[1])])))
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout.splitlines()[-1])


def mean(parts, name, weights=(1, 1)):
    return sum(weight * part[name] for weight, part in zip(weights, parts)) / sum(weights)


def assert_equal(losses, names, how='processes', weights=(1, 1)):
    assert names
    for name in names:
        assert mean(losses[how], name, weights) == pytest.approx(
            losses['whole'][name], rel=3e-5), name


def assert_other(losses, names, how='processes'):
    assert names
    for name in names:
        assert mean(losses[how], name) != pytest.approx(losses['whole'][name], rel=3e-4), name


def test_pixels_of_an_upernet(found):
    names = ['decode.loss_ce', 'aux.loss_ce']
    assert_equal(found['upernet'], names)
    assert_equal(found['upernet'], names, 'alone')


def test_pixels_of_an_upernet_that_leaves_out_what_is_not_labelled(found):
    for how in ('processes', 'alone'):
        assert_other(found['upernet_non_ignore'], ['decode.loss_ce'], how)
        assert_equal(found['upernet_non_ignore'], ['decode.loss_ce'], how, LABELLED)


def test_an_rpn_samples_as_many_anchors_of_each_image(found):
    cascade = found['cascade']
    assert cascade['sampled'][0][0][0] == cascade['sampled'][1][0][0] == 128
    assert_equal(cascade, ['loss_rpn_cls', 'loss_rpn_bbox'])


@pytest.mark.parametrize('stage', [0, 1, 2])
def test_a_cascade_stage_divides_by_the_rois_and_positives_of_a_process(found, stage):
    cascade = found['cascade']
    rois, positives = zip(*(sampled[1 + stage] for sampled in cascade['sampled']))
    assert positives[0] != positives[1]
    boxes = [f's{stage}.loss_cls', f's{stage}.loss_bbox']
    for how in ('processes', 'alone'):  # nothing is exchanged
        assert_equal(cascade, boxes, how, rois)
        assert_other(cascade, [f's{stage}.loss_mask'], how)
        assert_equal(cascade, [f's{stage}.loss_mask'], how, positives)


@pytest.mark.parametrize('kind', ['rtmdet', 'dino'])
def test_positives_are_averaged_over_processes_but_not_over_steps(found, kind):
    names = [name for name in found[kind]['whole'] if 'dn_' not in name]
    assert_equal(found[kind], names)
    assert_other(found[kind], ['loss_bbox'], 'alone')
    if kind == 'dino':
        assert_equal(found[kind], names, 'alone', OBJECTS)


def test_a_process_has_its_own_denoising_queries(found):
    """Of 50, as many groups as its largest number of objects allows, in boxes that it draws."""
    from mmdet.models.layers import CdnQueryGenerator
    generator = CdnQueryGenerator(num_classes=1, embed_dims=8, num_matching_queries=1,
                                  group_cfg=dict(dynamic=True, num_dn_queries=50))
    assert [generator.get_num_groups(objects) for objects in OBJECTS] == [25, 6]
    assert_other(found['dino'], ['dn_loss_bbox', 'dn_loss_iou'])


def test_a_mask2former_averages_masks_over_processes_and_weighs_its_classes_alone(found):
    both = found['mask2former']
    masks = [name for name in both['whole'] if not name.endswith('loss_cls')]
    classes = [name for name in both['whole'] if name.endswith('loss_cls')]
    assert_equal(both, masks)
    weights = [objects + NO_OBJECT * (QUERIES - objects) for objects in both['objects']]
    for how in ('processes', 'alone'):
        assert_other(both, classes, how)
        assert_equal(both, classes, how, weights)
