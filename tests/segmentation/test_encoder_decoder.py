"""EncoderDecoder gives the label maps and logits of mmseg's."""
import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from convnext_dense.errors import InputError
from convnext_dense.registry import MODELS

CLASSES = 9
SLIDE = dict(mode='slide', crop_size=(48, 64), stride=(32, 40))


def config(scope, test_cfg, **head):
    options = dict(dict(channels=8, num_classes=CLASSES, align_corners=False), **head)
    return dict(
        type=f'{scope}.EncoderDecoder',
        backbone=dict(type='convnext_dense.ConvNeXt',
                      arch=dict(depths=(1, 1), channels=(16, 24))),
        decode_head=dict(type='mmseg.FCNHead', in_channels=24, in_index=1, num_convs=1,
                         concat_input=False, **options),
        train_cfg=dict(), test_cfg=ConfigDict(test_cfg))


@pytest.fixture(scope='module', autouse=True)
def mmseg():
    import mmseg.models  # noqa: F401
    init_default_scope('mmseg')


def build(scope, **settings):
    torch.manual_seed(0)
    model = MODELS.build(config(scope, **settings)).eval()
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    return model


def samples(number, shape, ori_shape, **meta):
    from mmseg.structures import SegDataSample
    return [SegDataSample(metainfo=dict(img_shape=shape, pad_shape=shape, ori_shape=ori_shape,
                                        **meta)) for _ in range(number)]


def assert_same_labels(results, expected, tie=1e-5):
    """Equal but for pixels whose two largest logits are within ``tie`` of the largest logit."""
    for ours, theirs in zip(results, expected):
        labels, logits = theirs.pred_sem_seg.data, theirs.seg_logits.data
        first, second = logits.topk(2, dim=0).values
        clear = first - second > tie * logits.abs().max()
        assert ours.pred_sem_seg.data.shape == labels.shape
        assert ours.pred_sem_seg.data.dtype == labels.dtype
        assert clear.float().mean() > .999 and len(labels.unique()) > 3
        assert torch.equal(ours.pred_sem_seg.data[0][clear], labels[0][clear])


@torch.no_grad()
def assert_equals_mmseg(test_cfg, inputs, data_samples, **head):
    theirs = build('mmseg', test_cfg=test_cfg, **head)
    expected = theirs.predict(inputs, copy.deepcopy(data_samples))
    for changes in (dict(keep_logits=False), dict(keep_logits=False, window_batch=3),
                    dict(window_batch=2), {}):
        ours = build('convnext_dense', test_cfg=dict(test_cfg, **changes), **head)
        results = ours.predict(inputs, copy.deepcopy(data_samples))
        assert_same_labels(results, expected)
        if changes.get('keep_logits', True):
            for result, sample in zip(results, expected):
                torch.testing.assert_close(result.seg_logits.data, sample.seg_logits.data)
        else:
            assert 'seg_logits' not in results[0]


def image(number, height, width):
    torch.manual_seed(1)
    return torch.randn(number, 3, height, width)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('ori_shape', [(64, 96), (200, 311), (31, 50)])
@pytest.mark.parametrize('test_cfg', [dict(mode='whole'), SLIDE], ids=['whole', 'slide'])
def test_label_maps_equal_mmseg(test_cfg, ori_shape, align_corners):
    assert_equals_mmseg(test_cfg, image(2, 64, 96), samples(2, (64, 96), ori_shape),
                        align_corners=align_corners)


@pytest.mark.parametrize('shape', [(48, 64), (32, 40), (20, 150), (49, 65), (160, 48)])
def test_windows_of_any_image_equal_mmseg(shape):
    """Among them images smaller than the window along one or both axes."""
    assert_equals_mmseg(SLIDE, image(1, *shape), samples(1, shape, shape))


@pytest.mark.parametrize('test_cfg', [dict(mode='whole'), SLIDE], ids=['whole', 'slide'])
@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_padded_and_flipped_images_equal_mmseg(test_cfg, direction):
    data_samples = samples(1, (64, 96), (80, 121), img_padding_size=(3, 10, 0, 7), flip=True,
                           flip_direction=direction)
    assert_equals_mmseg(test_cfg, image(1, 64, 96), data_samples)


@torch.no_grad()
@pytest.mark.parametrize('keep_logits', [False, True])
@pytest.mark.parametrize('test_cfg', [dict(mode='whole'), SLIDE], ids=['whole', 'slide'])
def test_a_diagonal_flip_is_undone(test_cfg, keep_logits):
    """The label map of a flipped image is that of mmseg for the same input, turned back."""
    meta = dict(img_padding_size=(3, 10, 0, 7))
    expected = build('mmseg', test_cfg=test_cfg).predict(
        image(1, 64, 96), samples(1, (64, 96), (57, 83), **meta))
    ours = build('convnext_dense', test_cfg=dict(test_cfg, keep_logits=keep_logits))
    results = ours.predict(image(1, 64, 96), samples(
        1, (64, 96), (57, 83), flip=True, flip_direction='diagonal', **meta))
    for result in results:
        assert result.metainfo['flip_direction'] == 'diagonal'
        result.pred_sem_seg.data = result.pred_sem_seg.data.flip(-1, -2)
    assert_same_labels(results, expected)


@torch.no_grad()
@pytest.mark.parametrize('keep_logits', [False, True])
@pytest.mark.parametrize('test_cfg', [dict(mode='whole'), SLIDE], ids=['whole', 'slide'])
@pytest.mark.parametrize('shape', [(3, 40), (40, 3), (1, 1), (5, 7)])
def test_an_image_smaller_than_the_stride_is_padded(test_cfg, keep_logits, shape):
    model = build('convnext_dense', test_cfg=dict(test_cfg, keep_logits=keep_logits))
    padded = torch.nn.functional.pad(image(1, *shape), (
        0, max(8 - shape[1], 0), 0, max(8 - shape[0], 0)))
    sizes = tuple(padded.shape[2:])
    expected = build('mmseg', test_cfg=test_cfg).predict(padded, samples(
        1, sizes, shape, img_padding_size=(0, sizes[1] - shape[1], 0, sizes[0] - shape[0])))
    labels = model.predict(image(1, *shape), samples(1, shape, shape))[0].pred_sem_seg.data
    assert labels.shape == (1, *shape)
    assert torch.equal(labels, expected[0].pred_sem_seg.data)


@pytest.mark.parametrize('ignored', [False, True])
def test_crops_that_are_ignored_whole_give_one_channel_a_loss_of_zero(ignored):
    from mmengine.structures import PixelData
    head = dict(num_classes=2, out_channels=1, threshold=.4,
                loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True))
    model = build('convnext_dense', test_cfg=dict(mode='whole'), **head).train()
    data = samples(2, (32, 32), (32, 32))
    for number, sample in enumerate(data):
        labels = torch.full((1, 32, 32), 255 if ignored or number else 1)
        sample.gt_sem_seg = PixelData(data=labels)
    losses = model.loss(image(2, 32, 32), data)
    loss = sum(value for name, value in losses.items() if 'loss' in name)
    loss.backward()
    assert (loss.item() == 0) == ignored
    assert all(parameter.grad is not None for parameter in model.decode_head.parameters())


def test_images_of_a_batch_have_their_own_sizes():
    data_samples = samples(1, (64, 96), (64, 96)) + samples(1, (64, 96), (100, 90))
    assert_equals_mmseg(SLIDE, image(2, 64, 96), data_samples)


@torch.no_grad()
def test_binary_segmentation_keeps_mmsegs_threshold():
    head = dict(num_classes=2, out_channels=1, threshold=.4,
                loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True))
    results = [build(scope, test_cfg=dict(SLIDE, **changes), **head).predict(
        image(1, 64, 96), samples(1, (64, 96), (70, 99)))[0].pred_sem_seg.data
        for scope, changes in (('convnext_dense', dict(keep_logits=False)), ('mmseg', {}))]
    assert torch.equal(*results) and 0 < results[0].float().mean() < 1


@torch.no_grad()
def test_without_samples_the_results_are_mmsegs():
    ours, theirs = (build(scope, test_cfg=dict(mode='whole')).predict(image(1, 64, 96))
                    for scope in ('convnext_dense', 'mmseg'))
    assert torch.equal(ours[0].pred_sem_seg.data, theirs[0].pred_sem_seg.data)


@torch.no_grad()
def test_augmentation_merges_logits_that_testing_alone_does_not_keep():
    import mmseg.models.segmentors.seg_tta  # noqa: F401
    results = []
    for scope, changes in (('convnext_dense', dict(keep_logits=False)), ('mmseg', {})):
        torch.manual_seed(0)
        model = MODELS.build(dict(
            type=f'{scope}.SegTTAModel',
            module=config(scope, dict(SLIDE, **changes)))).eval()
        torch.manual_seed(2)
        torch.nn.init.normal_(model.module.decode_head.conv_seg.weight)
        views = dict(inputs=[image(1, 64, 96), image(1, 64, 96).flip(3)],
                     data_samples=[samples(1, (64, 96), (70, 99), img_path='a'),
                                   samples(1, (64, 96), (70, 99), img_path='a', flip=True,
                                           flip_direction='horizontal')])
        results.append(model.test_step(views)[0].pred_sem_seg.data)
    assert torch.equal(*results) and len(results[0].unique()) > 3


@torch.no_grad()
def test_no_tensor_of_all_classes_in_full_size_is_made():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numbers = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **kwargs or {})
            if isinstance(result, torch.Tensor):
                self.numbers.append(result.numel())
            return result

    full = CLASSES * 256 * 384
    for keep_logits in (False, True):
        model = build('convnext_dense', test_cfg=dict(SLIDE, keep_logits=keep_logits))
        with Largest() as largest:
            largest.numbers = []
            model.predict(image(1, 64, 96), samples(1, (64, 96), (256, 384)))
        assert (max(largest.numbers) < full) != keep_logits


@pytest.mark.parametrize('test_cfg, words', [
    (dict(mode='windows'), "mode 'windows'"),
    (dict(mode='slide', crop_size=(32, 32), stride=(32, 33)), 'stride .* leaves gaps')])
def test_wrong_settings_are_named(test_cfg, words):
    with pytest.raises(InputError, match=words):
        build('convnext_dense', test_cfg=test_cfg)


def test_the_matrix_of_an_axis_takes_no_product_of_matrices():
    """Which would be cubic in the side of an image that is not resized."""
    from torch.utils.flop_counter import FlopCounterMode

    from convnext_dense.segmentation.label_map import axis_matrix
    with FlopCounterMode(display=False) as counter:
        matrix = axis_matrix([(0, 60), (30, 90)], 15, 90, (0, 88), 70)
    assert counter.get_total_flops() == 0
    torch.testing.assert_close(matrix.sum(1), torch.ones(70))
