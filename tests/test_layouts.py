"""--data-root takes folders in any of the layouts that people have."""
import pytest
from mmengine.config import Config

from convnext_dense.config import set_data_root
from convnext_dense.layouts import fit_layout


def make(root, *paths):
    for path in paths:
        if path.endswith('.json'):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text('{}')
        else:
            (root / path).mkdir(parents=True, exist_ok=True)


def coco_config():
    return Config(dict(
        train_dataloader=dict(dataset=dict(
            type='CocoDataset', data_root='data/', ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'))),
        val_dataloader=dict(dataset=dict(
            type='CocoDataset', data_root='data/', ann_file='annotations/instances_val2017.json',
            data_prefix=dict(img='val2017/'))),
        val_evaluator=dict(type='CocoMetric',
                           ann_file='data/annotations/instances_val2017.json')))


@pytest.mark.parametrize('train, val', [
    (('annotations/instances_train2017.json', 'train2017/'),
     ('annotations/instances_val2017.json', 'val2017/')),
    (('annotations/train.json', 'train/'), ('annotations/val.json', 'val/')),
    (('annotations/instances_training.json', 'images/training/'),
     ('annotations/instances_validation.json', 'images/validation/')),
    (('train/_annotations.coco.json', 'train/'), ('valid/_annotations.coco.json', 'valid/')),
    (('train.json', 'train/'), ('val.json', 'val/'))])
def test_layouts_of_coco(tmp_path, train, val):
    make(tmp_path, *train, *val)
    cfg = coco_config()
    set_data_root(cfg, tmp_path)
    for split, (ann_file, images) in (('train', train), ('val', val)):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert (dataset.ann_file, dataset.data_prefix.img) == (ann_file, images)
    assert cfg.val_evaluator.ann_file == f'{tmp_path}/{val[0]}'


@pytest.mark.parametrize('images, maps', [
    ('images/training', 'annotations/training'), ('img_dir/train', 'ann_dir/train'),
    ('images/train', 'masks/train'), ('images/train', 'labels/train'), ('train/images',
                                                                       'train/masks')])
def test_layouts_of_label_maps(tmp_path, images, maps):
    make(tmp_path, images, maps)
    dataset = dict(data_prefix=dict(img_path='images/training',
                                    seg_map_path='annotations/training'))
    fit_layout(dataset, str(tmp_path))
    assert dataset['data_prefix'] == dict(img_path=images, seg_map_path=maps)


def test_what_the_config_says_or_what_is_ambiguous_stays(tmp_path):
    given = dict(ann_file='annotations/instances_train2017.json',
                 data_prefix=dict(img='train2017/'))
    for paths in (['train2017/', 'annotations/train.json', 'train/'],  # its images are there
                  ['annotations/train.json', 'train/', 'train.json'],  # two files fit
                  ['annotations/val.json', 'val/'], []):               # of another part, none
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        make(root, *paths)
        dataset = dict(given)
        assert fit_layout(dataset, str(root)) is None and dataset == given
