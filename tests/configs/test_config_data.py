"""Data: the published augmentation, the same for every backbone, and batches of 16."""
from importlib import import_module

import numpy as np
import pytest
from config_files import ADE20K, COCO, NAMES, config, peer_config, row
from mmcv.transforms import Compose
from mmengine.registry import DefaultScope

from convnext_dense.classes import LOADERS
from convnext_dense.config_nodes import type_name

SHORT_SIDES = list(range(480, 801, 32))
GPUS = 8  # the published recipes: 8 x 2


def without(step, *keys):
    """A config with some arguments left out, at any depth."""
    if isinstance(step, dict):
        return {key: without(value, *keys) for key, value in step.items() if key not in keys}
    return [without(part, *keys) for part in step] if isinstance(step, list) else step


@pytest.mark.parametrize('kind', ['_coco', '-512x512', '-640x640'])
def test_all_backbones_see_the_same_data(kind):
    names = [name for name in NAMES if name.endswith(kind)]
    first = config(names[0])
    for name in names:
        for key in (*LOADERS, 'val_evaluator', 'test_evaluator', 'tta_model', 'tta_pipeline'):
            assert config(name)[key] == first[key], (name, key)


@pytest.mark.parametrize('name', NAMES)
def test_a_batch_has_16_images(name):
    cfg = config(name)
    assert cfg.train_dataloader.batch_size * GPUS == cfg.auto_scale_lr.base_batch_size == 16
    assert not cfg.auto_scale_lr.enable


@pytest.mark.parametrize('name', NAMES)
def test_data_lie_where_openmmlab_expects_them(name):
    cfg = config(name)
    root = 'data/coco/' if name in COCO else 'data/ade/ADEChallengeData2016/'
    assert cfg.data_root == root
    for key in LOADERS:
        assert cfg[key].dataset.data_root == root
    assert cfg.test_dataloader == cfg.val_dataloader
    # a test writes the report besides
    assert cfg.test_evaluator == dict(cfg.val_evaluator, report=True)


def test_coco_pipelines_equal_those_of_mmdet():
    cfg = config(COCO[0])
    theirs = peer_config('mmdet', 'convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py')
    for loader in LOADERS:
        ours, peer = cfg[loader].dataset.to_dict(), theirs[loader].dataset.to_dict()
        assert ours == without(peer, 'backend_args')
    assert cfg.val_evaluator.metric == theirs.val_evaluator.metric == ['bbox', 'segm']


@pytest.mark.parametrize('crop', [512, 640])
def test_ade20k_pipelines_equal_those_of_mmseg(crop):
    name = next(name for name in ADE20K if name.endswith(f'{crop}x{crop}'))
    file = 'ade20k.py' if crop == 512 else 'ade20k_640x640.py'
    theirs = peer_config('mmseg', f'_base_/datasets/{file}')
    for loader in LOADERS:
        ours, peer = config(name)[loader].dataset.to_dict(), theirs[loader].dataset.to_dict()
        for step in ours['pipeline']:  # the drop-in that keeps 16 bits
            step['type'] = step['type'].removeprefix('convnext_dense.')
        # the data set says it already
        assert ours == {**without(peer, 'reduce_zero_label'), 'data_root': peer['data_root'] + '/'}


def noise_image(height, width):
    """What loading leaves of an image with one instance in each half."""
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks
    masks = np.zeros((2, height, width), dtype=np.uint8)
    masks[0, :, :width // 2] = masks[1, :, width // 2:] = 1
    boxes = [[0, 0, width // 2, height], [width // 2, 0, width, height]]
    return dict(
        img=np.zeros((height, width, 3), dtype=np.uint8), img_shape=(height, width),
        ori_shape=(height, width), img_id=0, img_path='',
        gt_bboxes=HorizontalBoxes(np.array(boxes, dtype=np.float32)),
        gt_bboxes_labels=np.zeros(2, dtype=np.int64), gt_ignore_flags=np.zeros(2, dtype=bool),
        gt_masks=BitmapMasks(masks, height, width))


def transforms(name, pipeline):
    """The transforms of a pipeline, without those that load files."""
    scope = config(name).default_scope
    import_module(f'{scope}.datasets.transforms')
    with DefaultScope.overwrite_default_scope(scope):
        return Compose(without_loading(pipeline))


def without_loading(steps):
    kept = [dict(step) for step in steps if not type_name(step).startswith('Load')]
    for step in kept:
        if step['type'] == 'TestTimeAug':
            branches = map(without_loading, step['transforms'])
            step['transforms'] = [branch for branch in branches if branch]
    return kept


def test_coco_training_is_multi_scale_with_the_crop_of_detr():
    np.random.seed(0)
    pipeline = transforms(COCO[0], config(COCO[0]).train_dataloader.dataset.pipeline)
    packed = [pipeline(noise_image(480, 640)) for _ in range(60)]
    sizes = [result['inputs'].shape[-2:] for result in packed]
    assert {min(size) for size in sizes} == set(SHORT_SIDES)
    assert all(max(size) <= 1333 for size in sizes)
    cropped = [abs(max(size) / min(size) - 4 / 3) > .01 for size in sizes]
    assert 15 <= sum(cropped) <= 45
    assert {result['data_samples'].flip for result in packed} == {True, False}


def test_coco_images_are_tested_at_800_pixels():
    pipeline = transforms(COCO[0], config(COCO[0]).test_dataloader.dataset.pipeline)
    assert pipeline(noise_image(480, 640))['inputs'].shape[-2:] == (800, 1067)
    assert pipeline(noise_image(300, 1000))['inputs'].shape[-2:] == (400, 1333)


def labelled(height, width):
    return dict(img=np.zeros((height, width, 3), dtype=np.uint8), img_shape=(height, width),
                ori_shape=(height, width), img_path='', seg_map_path='',
                reduce_zero_label=True, seg_fields=['gt_seg_map'],
                gt_seg_map=np.random.randint(0, 150, (height, width), dtype=np.uint8))


@pytest.mark.parametrize('name', ADE20K)
def test_ade20k_crops_have_the_size_of_the_row(name):
    crop = row(name).get('crop', 512) if config(name).published else 512
    assert name.endswith(f'-{crop}x{crop}')
    np.random.seed(0)
    pipeline = transforms(name, config(name).train_dataloader.dataset.pipeline)
    sizes = [pipeline(labelled(300, 400))['inputs'].shape[-2:] for _ in range(4)]
    # the short side is scaled to 0.5 to 2 times the crop before
    assert all(crop // 2 <= min(size) <= max(size) <= crop for size in sizes)
    test = transforms(name, config(name).test_dataloader.dataset.pipeline)
    assert test(labelled(300, 400))['inputs'].shape[-2:] == (crop, round(crop * 4 / 3))


@pytest.mark.parametrize('crop', [512, 640])
def test_ade20k_multi_scale_takes_six_ratios_of_the_test_size_with_flip(crop):
    name = next(name for name in ADE20K if name.endswith(f'{crop}x{crop}'))
    pipeline = transforms(name, config(name).tta_pipeline)
    packed = pipeline(labelled(300, 400))
    ratios = [.5, .75, 1., 1.25, 1.5, 1.75]
    assert [image.shape[-2] for image in packed['inputs']] == [
        int(crop * ratio) for ratio in ratios for _ in range(2)]
    assert [sample.flip for sample in packed['data_samples']] == [False, True] * 6


def test_coco_multi_scale_has_three_sizes_with_flip():
    pipeline = transforms(COCO[0], config(COCO[0]).tta_pipeline)
    packed = pipeline(noise_image(480, 640))
    assert [image.shape[-2] for image in packed['inputs']] == [400, 400, 800, 800, 1200, 1200]
    assert [sample.flip for sample in packed['data_samples']] == [False, True] * 3
