"""Each kind of bad input is one clear error before any work."""
import json
import re
import time

import numpy as np
import pytest
from tiny_data import noise_image

from convnext_dense.checks.preflight import check_config
from convnext_dense.checks.sampling import evenly
from convnext_dense.config import set_label_values
from convnext_dense.datasets import coco_file
from convnext_dense.errors import InputError

# ---- what works passes


def test_good_configs_pass_and_make_the_work_directory(coco, labels, tmp_path):
    check_config(coco.cfg, training=True)
    check_config(coco.cfg, training=False)
    check_config(labels.cfg, training=True)
    check_config(labels.cfg, training=False)
    assert list((tmp_path / 'work').iterdir()) == []


def test_wrapped_and_concatenated_data_sets_are_found(coco):
    train = coco.cfg.train_dataloader.dataset
    bad = dict(train, ann_file='annotations/none.json')
    coco.cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', datasets=[train, bad]))
    with pytest.raises(InputError, match='train2 data set: .*none.json does not exist'):
        check_config(coco.cfg, training=True)


def test_files_on_another_storage_are_not_looked_for(coco):
    for loader in ('train_dataloader', 'val_dataloader'):
        coco.cfg[loader].dataset.update(data_root='s3://bucket/coco')
    coco.cfg.val_evaluator.ann_file = 's3://bucket/coco/val.json'
    check_config(coco.cfg, training=True)


# ---- data root, annotation file, images


def test_missing_data_root(coco):
    coco.cfg.train_dataloader.dataset.data_root = '/no/such'
    with pytest.raises(InputError, match=r'train_dataloader: the data root /no/such does not '
                       r'exist; .* --data-root'):
        check_config(coco.cfg, training=True)
    check_config(coco.cfg, training=False)  # the test data are elsewhere


def test_missing_annotation_file(coco):
    (coco.root / 'annotations' / 'val.json').unlink()
    with pytest.raises(InputError, match=r'val.json does not exist; .* --data-root'):
        check_config(coco.cfg, training=True)


def test_missing_annotation_file_of_the_evaluator(coco):
    coco.cfg.val_evaluator.ann_file = '/no/val.json'
    with pytest.raises(InputError, match='val_evaluator: the annotation file /no/val.json does'):
        check_config(coco.cfg, training=True)


@pytest.mark.parametrize('text, message', [
    ('{"images": [', 'is no JSON: '),
    ('[1, 2]', "no list 'images' and no list 'categories'"),
    ('{"images": []}', "no list 'categories'"),
])
def test_an_annotation_file_that_is_none(coco, text, message):
    (coco.root / 'annotations' / 'train.json').write_text(text)
    with pytest.raises(InputError, match=message):
        check_config(coco.cfg, training=True)


def test_missing_images(coco):
    (coco.root / 'train' / '2.jpg').unlink()
    with pytest.raises(InputError, match=r'1 of 3 images are missing in .*train/?, the first '
                       r'is .*2.jpg; .* --data-root'):
        check_config(coco.cfg, training=True)


def test_missing_image_folder_of_a_segmentation_set(labels):
    labels.cfg.train_dataloader.dataset.data_prefix.img_path = 'photos'
    with pytest.raises(InputError, match=r'folder of images .*/photos does not exist.*--data'):
        check_config(labels.cfg, training=True)


def test_missing_label_maps(labels):
    (labels.root / 'annotations/training/1.png').unlink()
    with pytest.raises(InputError, match=r'1 of 3 label maps are missing in .*1.png'):
        check_config(labels.cfg, training=True)


def test_wrong_image_suffix(labels):
    labels.cfg.train_dataloader.dataset.img_suffix = '.png'
    with pytest.raises(InputError, match=r"ends with '.png'; there are files ending with .jpg: "
                       'set img_suffix'):
        check_config(labels.cfg, training=True)


# ---- classes


def test_classes_that_the_annotation_file_does_not_have(coco):
    coco.cfg.train_dataloader.dataset.metainfo.classes = ('disc', 'cone')
    with pytest.raises(InputError, match=r'classes \[cone\] of the config are not in '
                       r'.*train.json, whose categories are \[disc, box\]'):
        check_config(coco.cfg, training=True)


def test_one_class_written_without_the_comma(coco):
    coco.cfg.train_dataloader.dataset.metainfo.classes = 'disc'
    with pytest.raises(InputError, match=r"classes='disc' is one string.*\('disc', \)"):
        check_config(coco.cfg, training=True)


def test_no_image_left_after_filtering(coco):
    content = coco.contents['train']
    content['categories'].append(dict(id=3, name='cone'))
    for annotation in content['annotations']:
        annotation['category_id'] = 3
    coco.write('train', content)
    with pytest.raises(InputError, match=r'no image of .*train.json is left after filtering: '
                       r'the config has the classes \[disc, box\], the file has annotations of '
                       r'\[cone \(6\)\] in 3 images'):
        check_config(coco.cfg, training=True)


def test_no_annotation_that_training_can_use(coco):
    for annotation in coco.contents['train']['annotations']:
        annotation['iscrowd'] = 1
    coco.write('train', coco.contents['train'])
    with pytest.raises(InputError, match='left after filtering'):
        check_config(coco.cfg, training=True)


def test_all_images_smaller_than_the_filter(coco):
    coco.cfg.train_dataloader.dataset.filter_cfg.min_size = 32
    with pytest.raises(InputError, match='no image of .* has min_size=32 pixels'):
        check_config(coco.cfg, training=True)


def test_no_image_at_all(coco):
    coco.write('val', dict(images=[], categories=coco.contents['val']['categories']))
    with pytest.raises(InputError, match='val.json lists no image'):
        check_config(coco.cfg, training=True)


def test_a_polygon_whose_evaluation_would_exhaust_the_memory(coco):
    coco.contents['val']['annotations'][2]['segmentation'][0][0] = 1e12
    coco.write('val', coco.contents['val'])
    with pytest.raises(InputError, match=r'annotation 3 of \d+.jpg in .*val.json has a polygon '
                       r'that reaches to 1e\+12, in an image of 32x24; correct or remove it'):
        check_config(coco.cfg, training=True)


def reverse_classes(cfg, *loaders):
    for loader in loaders:
        cfg[f'{loader}_dataloader'].dataset.metainfo.classes = ('box', 'disc')


def test_the_order_of_the_classes_may_be_another_than_the_files(coco):
    reverse_classes(coco.cfg, 'train', 'val')
    coco.cfg.val_evaluator.type = 'convnext_dense.CocoMetric'
    check_config(coco.cfg, training=True)


def test_mmdets_metric_takes_the_files_order_only(coco):
    reverse_classes(coco.cfg, 'train', 'val')
    with pytest.raises(InputError, match=r"val_evaluator: .*val.json has its categories in the "
                       r"order \[disc, box\], .* use the type 'convnext_dense.CocoMetric'"):
        check_config(coco.cfg, training=True)


def test_a_class_derived_from_mmdets_takes_the_files_order_only(coco):
    coco.cfg.train_dataloader.dataset.type = 'DeepFashionDataset'
    check_config(coco.cfg, training=True)
    reverse_classes(coco.cfg, 'train', 'val')
    with pytest.raises(InputError, match='train_dataloader: .*DeepFashionDataset numbers the '
                       "labels in the order of the file; use the type 'convnext_dense.Coco"):
        check_config(coco.cfg, training=True)


def test_class_lists_that_differ_between_the_data_sets(coco, labels):
    for cfg in (coco.cfg, labels.cfg):
        reverse_classes(cfg, 'train')
        with pytest.raises(InputError, match="val_dataloader has the classes .*, train_dataloader "
                           ".*: label 0 is 'disc' in one and 'box' in the other"):
            check_config(cfg, training=True)
        cfg.test_dataloader = cfg.val_dataloader
        with pytest.raises(InputError, match='test_dataloader has the classes'):
            check_config(cfg, training=False)


def test_unknown_data_set_type(coco):
    coco.cfg.train_dataloader.dataset.type = 'CocoDatasett'
    with pytest.raises(InputError, match="train_dataloader: no data set type 'CocoDatasett'"):
        check_config(coco.cfg, training=True)


def test_unknown_data_set_argument(coco):
    coco.cfg.train_dataloader.dataset.annfile = 'x'
    with pytest.raises(InputError, match="does not accept its arguments: .*'annfile'"):
        check_config(coco.cfg, training=True)


# ---- label maps


def test_label_values_outside_the_classes(labels):
    labels.write('training', 1, [0, 1, 7])
    with pytest.raises(InputError, match=r'training/1.png has the values \{0, 1, 7\}, but the 2 '
                       r'classes are 0 to 1 and 255 is ignored; the values \{7\} need classes'):
        check_config(labels.cfg, training=True)


def test_labels_from_1_without_reduce_zero_label(labels):
    labels.write('training', 1, [0, 1, 2])
    with pytest.raises(InputError, match=r'1.png has the values \{0, 1, 2\}.* set '
                       r'reduce_zero_label=True'):
        check_config(labels.cfg, training=True)


@pytest.mark.parametrize('values', [[0, 1, 255], [0, 1]])
def test_labels_from_0_with_reduce_zero_label(labels, values):
    for number in range(3):
        labels.write('training', number, values)
    labels.cfg.train_dataloader.dataset.reduce_zero_label = True
    with pytest.raises(InputError, match=r'no label map of the data set holds 2.*0.png has the '
                       r'values \{0, 1.*set reduce_zero_label=False'):
        check_config(labels.cfg, training=True)


def test_labels_from_1_with_reduce_zero_label_pass(labels):
    for split, numbers in (('training', range(3)), ('validation', (10, 11))):
        for number in numbers:
            labels.write(split, number, [0, 1, 2])
        key = 'train' if split == 'training' else 'val'
        labels.cfg[f'{key}_dataloader'].dataset.reduce_zero_label = True
    check_config(labels.cfg, training=True)


def test_a_last_class_rarer_than_the_sample_is_no_error(labels, monkeypatch):
    """ADE20K's class 150 is in one image of hundreds."""
    for number in range(3):
        labels.write('training', number, [0, 1])
    labels.write('training', 2, [0, 1, 2])
    labels.cfg.train_dataloader.dataset.reduce_zero_label = True
    monkeypatch.setattr('convnext_dense.checks.preflight.SAMPLE', 1)
    for part in ('dataloader', 'cfg', 'evaluator'):
        labels.cfg.pop(f'val_{part}')
    check_config(labels.cfg, training=True)


def test_reduce_zero_label_of_data_set_and_pipeline_differ(labels):
    labels.cfg.train_dataloader.dataset.pipeline[1].reduce_zero_label = True
    with pytest.raises(InputError, match='LoadAnnotations has reduce_zero_label=True, but the '
                       'data set has reduce_zero_label=False'):
        check_config(labels.cfg, training=True)


def test_a_coloured_label_map(labels):
    noise_image(0).save(labels.root / 'annotations/training/0.png')
    with pytest.raises(InputError, match=r'0.png is a colour image of shape \(24, 32, 3\)'):
        check_config(labels.cfg, training=True)


def test_an_unreadable_label_map(labels):
    (labels.root / 'annotations/training/0.png').write_bytes(b'no png')
    with pytest.raises(InputError, match='0.png is no image that the loader can decode'):
        check_config(labels.cfg, training=True)


# ---- the model


def test_num_classes_of_each_head(coco):
    coco.cfg.model.roi_head.bbox_head[1].num_classes = 80
    with pytest.raises(InputError, match=r'model.roi_head.bbox_head.1.num_classes is 80, but '
                       r'train_dataloader has 2 classes \(disc, box\); set it to 2'):
        check_config(coco.cfg, training=True)


def test_num_classes_left_to_the_default_of_80(coco):
    del coco.cfg.model.roi_head.mask_head['num_classes']
    with pytest.raises(InputError, match='model.roi_head.mask_head.num_classes is 80'):
        check_config(coco.cfg, training=True)


@pytest.mark.parametrize('head', ['decode_head', 'auxiliary_head'])
def test_num_classes_of_segmentation_heads(labels, head):
    labels.cfg.model[head].num_classes = 150
    with pytest.raises(InputError, match=f'model.{head}.num_classes is 150'):
        check_config(labels.cfg, training=True)
    labels.cfg.model[head] = [labels.cfg.model[head]]
    with pytest.raises(InputError, match=f'model.{head}.0.num_classes is 150'):
        check_config(labels.cfg, training=True)


def test_unknown_arch(coco):
    coco.cfg.model.backbone.arch = 'tinny'
    with pytest.raises(InputError, match="unknown arch 'tinny'; the known ones are atto"):
        check_config(coco.cfg, training=True)


def test_wrong_out_indices(coco):
    coco.cfg.model.backbone.out_indices = (0, 1, 2, 4)
    with pytest.raises(InputError, match=r'out_indices=.*4'):
        check_config(coco.cfg, training=True)


def test_neck_channels_of_another_arch(coco):
    coco.cfg.model.backbone.arch = 'tiny'
    with pytest.raises(InputError, match=r'model.neck.in_channels=\[40, 80, 160, 320\] does not '
                       r'fit the backbone.*\[96, 192, 384, 768\]'):
        check_config(coco.cfg, training=True)


def test_neck_with_fewer_inputs_than_the_backbone_has_outputs(coco):
    coco.cfg.model.backbone.out_indices = (1, 2, 3)
    with pytest.raises(InputError, match=r'set it to \[80, 160, 320\]'):
        check_config(coco.cfg, training=True)


@pytest.mark.parametrize('backbone', [
    dict(type='ResNet', depth=18),
    dict(type='ResNet', depth=50),
    dict(type='ResNeXt', depth=50, groups=32, base_width=4, out_indices=(1, 2, 3)),
    dict(type='SwinTransformer', embed_dims=24, num_heads=(1, 2, 4, 8)),
])
def test_channels_of_other_backbones_are_those_of_a_forward_pass(coco, backbone):
    import torch
    from mmengine.registry import MODELS, DefaultScope
    with DefaultScope.overwrite_default_scope('mmdet'), torch.no_grad():
        outputs = MODELS.build(backbone)(torch.zeros(2, 3, 64, 64))
    channels = [output.shape[1] for output in outputs]
    coco.cfg.model.backbone = backbone
    with pytest.raises(InputError, match=re.escape(f'have {channels} channels')):
        check_config(coco.cfg, training=True)
    coco.cfg.model.neck.in_channels = channels
    check_config(coco.cfg, training=True)
    coco.cfg.model.backbone = dict(backbone, out_indices=(1, 4))
    with pytest.raises(InputError, match=r'has 4 stages, but out_indices=\(1, 4\)'):
        check_config(coco.cfg, training=True)


def test_unknown_backbone(coco):
    coco.cfg.model.backbone = dict(type='ConvNext')
    with pytest.raises(InputError, match=r"no type 'ConvNext'; .*'convnext_dense.ConvNeXt'"):
        check_config(coco.cfg, training=True)


@pytest.mark.parametrize('head, channels, message', [
    ('decode_head', [96, 192, 384, 768], r'set it to \[40, 80, 160, 320\]'),
    ('auxiliary_head', 384, r'set it to 160'),
])
def test_channels_of_heads_without_a_neck(labels, head, channels, message):
    labels.cfg.model[head].in_channels = channels
    with pytest.raises(InputError, match=rf'model.{head}.in_channels=.*{message}'):
        check_config(labels.cfg, training=True)


def test_head_that_reads_an_output_the_backbone_does_not_have(labels):
    labels.cfg.model.auxiliary_head.in_index = 4
    with pytest.raises(InputError, match='auxiliary_head.in_index=4, but the backbone has 4'):
        check_config(labels.cfg, training=True)


# ---- the work directory


def test_a_folder_for_checkpoints_that_cannot_be_written(coco):
    coco.cfg.default_hooks = dict(checkpoint=dict(type='CheckpointHook', out_dir='/proc/none'))
    with pytest.raises(InputError, match='default_hooks.checkpoint.out_dir /proc/none cannot be '
                       'written .*; give another folder'):
        check_config(coco.cfg, training=True)
    check_config(coco.cfg, training=False)


def test_a_work_directory_that_cannot_be_written(coco, tmp_path):
    (tmp_path / 'file').write_text('')
    coco.cfg.work_dir = str(tmp_path / 'file' / 'run')
    with pytest.raises(InputError, match=r'work directory .*file/run cannot be written '
                       r'\(Not a directory\); .*--work-dir'):
        check_config(coco.cfg, training=True)


# ---- speed


def test_a_large_annotation_file_is_read_in_part(coco, monkeypatch):
    monkeypatch.setattr(coco_file, 'LARGE', 100)
    content, whole = coco_file.read_outline(str(coco.root / 'annotations/train.json'))
    assert not whole
    assert content.category_names == ['disc', 'box'] and content.category_ids == [1, 2]
    assert [content.image(place) for place in range(3)] == coco.contents['train']['images']
    check_config(coco.cfg, training=True)
    coco.cfg.train_dataloader.dataset.metainfo.classes = ('disc', 'cone')
    with pytest.raises(InputError, match=r'\[cone\]'):
        check_config(coco.cfg, training=True)


def test_a_large_file_in_an_unusual_order_is_read_whole(coco, monkeypatch):
    monkeypatch.setattr(coco_file, 'LARGE', 100)
    content = coco.contents['train']
    content['info'] = dict(categories='none', images='none')
    path = coco.root / 'annotations' / 'train.json'
    path.write_text(json.dumps(dict(reversed(content.items()))))
    found, whole = coco_file.read_outline(str(path))
    assert whole and found.category_names == ['disc', 'box']


def test_evenly_spaced_samples():
    assert evenly(list(range(10)), 4) == [0, 2, 5, 7]
    assert evenly([1, 2], 4) == [1, 2]
    assert evenly([], 4) == []


@pytest.mark.slow
def test_the_fast_part_takes_less_than_two_seconds_on_20000_images(labels, coco):
    """As many images and label maps as ADE20K has; the libraries are imported already."""
    source = labels.root / 'annotations/training/0.png'
    for number in range(100, 20_000):
        (labels.root / f'images/training/{number}.jpg').touch()
        (labels.root / f'annotations/training/{number}.png').hardlink_to(source)
    check_config(coco.cfg, training=True)
    start = time.perf_counter()
    check_config(labels.cfg, training=True)
    assert time.perf_counter() - start < 2


# ---- masks of 0 and 255, and label maps of 16 bits


def binary(labels):
    """Masks of 0 and 255 in all label maps."""
    for split, numbers in (('training', range(3)), ('validation', (10, 11))):
        for number in numbers:
            labels.write(split, number, [0, 255])


def test_masks_of_0_and_255_are_refused_with_the_remedy_and_pass_with_it(labels):
    binary(labels)
    with pytest.raises(InputError, match=r'train_dataloader: the 3 label maps that were looked at '
                       r'have no values but \{0, 255\}, and \{255\} is ignored, as in .*0.png: at '
                       'most 1 of 2 classes could be learned; .*--label-values 0=0,255=1'):
        check_config(labels.cfg, training=True)
    set_label_values(labels.cfg, {0: 0, 255: 1})
    check_config(labels.cfg, training=True)


@pytest.mark.parametrize('values, hint', [
    ([0, 128], '0=0,128=1'), ([0, 128, 255], '0=0,128=1'), ([0, 254], '0=0,254=1')])
def test_other_binary_masks_get_a_hint_too(labels, values, hint):
    labels.write('training', 0, values)
    with pytest.raises(InputError, match=f'need classes .* --label-values {hint}'):
        check_config(labels.cfg, training=True)


def test_16_bits_need_the_loader_that_keeps_them(labels):
    from PIL import Image
    path = labels.root / 'annotations/training/1.png'
    Image.fromarray(np.full((24, 32), 257, np.uint16)).save(path)
    with pytest.raises(InputError, match=r"1.png has the value 257, which the pipeline's "
                       r"LoadAnnotations cuts to 8 bits; .*'convnext_dense.LoadAnnotations'"):
        check_config(labels.cfg, training=True)
    labels.cfg.train_dataloader.dataset.pipeline[1].type = 'convnext_dense.LoadAnnotations'
    with pytest.raises(InputError, match=r'has the values \{257\}, but the 2 classes are 0 to 1'):
        check_config(labels.cfg, training=True)
