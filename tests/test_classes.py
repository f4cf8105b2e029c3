"""A config's class list: to all data sets, and from the data to the heads."""
from importlib import import_module
from pathlib import Path

import pytest
from mmengine.config import Config

from convnext_dense.classes import apply_classes, class_counts, set_number
from convnext_dense.config import load_config
from convnext_dense.errors import InputError

CASCADE = ('convnext_dense::cascade_mask_rcnn/'
           'cascade-mask-rcnn_convnext-t_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py')
HEADS = ['roi_head.bbox_head.0', 'roi_head.bbox_head.1', 'roi_head.bbox_head.2',
         'roi_head.mask_head']


def config(tmp_path, text):
    path = tmp_path / 'mine.py'
    path.write_text(text)
    return load_config(path)


def test_classes_go_to_all_data_sets_and_heads(tmp_path):
    cfg = config(tmp_path, f"_base_ = '{CASCADE}'\nclasses = ('cat', 'dog')\n")
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.metainfo == dict(classes=('cat', 'dog'))
    assert class_counts(cfg.model) == [(head, 2) for head in HEADS]
    assert cfg.model.roi_head.bbox_head[1].type == 'ConvFCBBoxHead'


def test_heads_follow_the_metainfo_of_the_training_data(tmp_path):
    cfg = config(tmp_path, f"_base_ = '{CASCADE}'\n"
                 "train_dataloader = dict(dataset=dict(metainfo=dict(classes=('a', 'b', 'c'))))\n")
    assert class_counts(cfg.model) == [(head, 3) for head in HEADS]


def test_both_heads_of_a_segmenter_follow(tmp_path):
    cfg = config(tmp_path, "_base_ = 'convnext_dense::examples/"
                 "upernet_convnextv2-atto_camvid.py'\nclasses = ('road', 'other')\n")
    assert class_counts(cfg.model) == [('decode_head', 2), ('auxiliary_head', 2)]


def loaders(*datasets):
    return dict(train_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=list(datasets))))


def data(*classes, **more):
    return dict(type='CocoDataset', metainfo=dict(classes=classes, **more))


def test_a_wrapped_data_set_is_found_and_keeps_a_palette_for_the_same_classes():
    cfg = Config(dict(classes=['a', 'b'], **loaders(
        data('a', 'b', palette=[(1, 2, 3)] * 2), dict(type='RepeatDataset', dataset=data('x')))))
    apply_classes(cfg)
    first, second = cfg.train_dataloader.dataset.datasets
    assert first.metainfo.palette == [(1, 2, 3)] * 2
    assert second.dataset.metainfo == dict(classes=('a', 'b'))


def test_heads_stay_where_the_training_data_sets_differ():
    cfg = Config(dict(model=dict(bbox_head=dict(num_classes=80)),
                      **loaders(data('a', 'b'), data('a'))))
    apply_classes(cfg)
    assert cfg.model.bbox_head.num_classes == 80


def test_parts_that_predict_no_classes_of_the_data_stay():
    model = dict(backbone=dict(num_classes=1000), rpn_head=dict(num_classes=1),
                 roi_head=dict(bbox_head=dict(type='Shared2FCBBoxHead')))
    set_number(model, 3)
    assert model['backbone']['num_classes'] == 1000 and model['rpn_head']['num_classes'] == 1
    assert model['roi_head']['bbox_head']['num_classes'] == 3  # mmdet's own would be 80


@pytest.mark.parametrize('package, path, part', [
    ('mmdet', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', 'panoptic_head'),
    ('mmseg', 'mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py', 'decode_head')])
def test_mask2formers_weights_of_the_loss_follow(package, path, part):
    root = Path(import_module(package).__file__).parent / '.mim' / 'configs'
    model = Config.fromfile(root / path, import_custom_modules=False).model
    before = list(model[part].loss_cls.class_weight)
    set_number(model, 4)
    assert model[part].loss_cls.class_weight == [before[0]] * 4 + [before[-1]]
    count = model[part].get('num_things_classes', model[part].get('num_classes'))
    assert count == 4


def test_weights_that_differ_from_class_to_class_stay():
    model = dict(decode_head=dict(num_classes=3, loss_decode=dict(class_weight=[1., 2., 3.])))
    set_number(model, 2)
    assert model['decode_head']['loss_decode']['class_weight'] == [1., 2., 3.]


@pytest.mark.parametrize('classes, words', [
    ('cat', "write classes = ('cat', )"), ((), 'give the names'), ((1, 2), 'give the names'),
    (dict(classes=('cat', )), 'give the names'), (('cat', 'cat'), "'cat' more than once")])
def test_a_class_list_that_cannot_be_meant_is_refused(tmp_path, classes, words):
    with pytest.raises(InputError) as error:
        config(tmp_path, f'classes = {classes!r}\n')
    assert words in str(error.value)
