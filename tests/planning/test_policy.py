"""Model, size, batch, rate and schedule as functions of data and machine."""
import pytest

from convnext_dense.config_files import config_names
from convnext_dense.errors import InputError
from convnext_dense.planning.facts import DataFacts, Machine
from convnext_dense.planning.policy import VISIBLE, make_plan, usual_weights

CPU = Machine(cores=2)
GPU = Machine(cores=16, gpu='RTX 3060', gpu_memory=11.8)
LARGE_GPU = Machine(cores=16, gpu='A100', gpu_memory=79.)
PHOTOS = DataFacts('masks', train=14, val=4, test=0, classes=3, objects=165, width=1024,
                   height=768, small=90.)


@pytest.mark.parametrize('task, heads', [
    ('masks', 'mask-rcnn'), ('boxes', 'faster-rcnn'), ('labels', 'upernet')])
@pytest.mark.parametrize('machine, backbone', [(CPU, 'convnextv2-atto'), (GPU, 'convnext-t')])
def test_heads_follow_the_annotations_and_the_backbone_the_machine(task, heads, machine, backbone):
    plan = make_plan(PHOTOS._replace(task=task), machine)
    assert plan.config == f'own/{heads}_{backbone}.py'
    assert f'{heads}_{backbone}' in config_names()
    assert set(plan.reasons) == {'model', 'size', 'batch', 'lr', 'schedule', 'weights'}


def test_a_large_gpu_takes_a_larger_backbone_and_batch():
    small, large = make_plan(PHOTOS._replace(train=1000), GPU), \
        make_plan(PHOTOS._replace(train=1000), LARGE_GPU)
    assert (small.arch, large.arch) == ('tiny', 'small')
    assert (small.batch, large.batch) == (2, 8)
    assert large.lr == pytest.approx(small.lr * 2, rel=.02)  # the root of the batch's factor
    assert usual_weights(LARGE_GPU) == 'convnext-small_in1k'


@pytest.mark.parametrize('small, side', [(200., 320), (120., 352), (20., 448)])
def test_objects_stay_visible_within_what_a_cpu_can_do(small, side):
    plan = make_plan(PHOTOS._replace(small=small), CPU)
    assert plan.scale == (side, round(side * .75 / 32) * 32)
    seen = small * side / 1024
    assert seen >= VISIBLE['cpu'] * .9 or 'tiles' in plan.reasons['size']


def test_18_photos_on_two_cores_take_about_eight_minutes():
    plan = make_plan(PHOTOS, CPU)
    assert 6 <= plan.minutes <= 8
    assert f'about {plan.minutes:.0f} minutes on 2 cores' in plan.reasons['schedule']
    assert plan.batch == 4 and plan.val_interval * 4 >= plan.max_iters


def test_more_images_train_longer_but_never_more_than_an_hour_on_a_cpu():
    minutes = [make_plan(PHOTOS._replace(train=number), CPU).minutes
               for number in (100, 500, 5000, 100_000)]
    assert minutes == sorted(minutes) and minutes[-1] < 61


def test_few_images_are_not_seen_a_thousand_times():
    plan = make_plan(PHOTOS._replace(task='labels', train=2, width=64, height=64), CPU)
    assert plan.max_iters * plan.batch <= 400 * 2


def test_weights_lower_the_rate_and_shorten_the_schedule():
    with_weights, without = (make_plan(PHOTOS, GPU, weights)
                             for weights in ('convnext-tiny_in1k', None))
    assert with_weights.max_iters * 3 == without.max_iters
    assert 'starts from nothing' in without.reasons['weights']
    assert make_plan(PHOTOS, CPU, 'convnextv2-atto_in1k').lr * 4 == make_plan(PHOTOS, CPU).lr
    assert 'no commercial use' in make_plan(PHOTOS, CPU, 'convnextv2-atto_in1k').reasons['weights']


def test_crops_of_label_maps_fit_the_resized_images():
    plan = make_plan(PHOTOS._replace(task='labels', width=960, height=720), CPU)
    assert plan.scale == (320, 240) and plan.crop == (192, 256)
    tiny = make_plan(PHOTOS._replace(task='labels', width=100, height=80), CPU)
    assert tiny.scale == (96, 80) and tiny.crop == (64, 64)


def test_one_training_image_is_a_batch_of_one():
    assert make_plan(PHOTOS._replace(train=1), CPU).batch == 1
    assert make_plan(PHOTOS._replace(train=1), LARGE_GPU).batch == 1


def test_batch_and_size_may_be_asked_for_and_rate_and_length_follow():
    usual, asked = make_plan(PHOTOS, CPU), make_plan(PHOTOS, CPU, batch=1, size=640)
    assert (asked.batch, asked.scale) == (1, (640, 480))
    assert asked.lr == pytest.approx(usual.lr / 2)
    assert 'as asked for' in asked.reasons['batch']
    labels = PHOTOS._replace(task='labels')
    assert make_plan(labels, GPU, size=256).scale == (256, 192)
    assert make_plan(labels, GPU, size=256).crop == (160, 192)


@pytest.mark.parametrize('task, asked', [('masks', dict(batch=0)), ('masks', dict(batch=15)),
                                         ('labels', dict(batch=1)), ('masks', dict(size=8))])
def test_what_cannot_be_asked_for_is_refused(task, asked):
    with pytest.raises(InputError, match='--(batch|size) .*: give'):
        make_plan(PHOTOS._replace(task=task), CPU, **asked)
