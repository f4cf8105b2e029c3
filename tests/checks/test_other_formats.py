"""Data in another tool's format: the error names the importer; what is not read is said so."""
import shutil

import pytest
from mmengine.config import Config
from PIL import Image
from tiny_data import CLASSES, noise_image

from convnext_dense.checks.audit_config import audit, summary
from convnext_dense.checks.preflight import check_config
from convnext_dense.errors import InputError

VOC = '''<annotation><filename>1.jpg</filename><size><width>32</width><height>24</height></size>
<object><name>disc</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>2</ymin>
<xmax>12</xmax><ymax>12</ymax></bndbox></object></annotation>'''


def test_yolo_files_where_coco_was_expected_name_their_importer(coco):
    shutil.rmtree(coco.root)
    (coco.root / 'images/train').mkdir(parents=True)
    (coco.root / 'labels/train').mkdir(parents=True)
    noise_image(1).save(coco.root / 'images/train/1.jpg')
    (coco.root / 'labels/train/1.txt').write_text('0 .5 .5 .2 .2\n')
    (coco.root / 'data.yaml').write_text('names: [disc, box]\ntrain: images/train\n')
    with pytest.raises(InputError, match=f'does not exist.*; {coco.root}/ holds YOLO in another '
                       f'layout, which `convnext-dense new PROJECT --data {coco.root}/` imports'):
        check_config(coco.cfg, training=True)
    assert 'holds YOLO' in '\n'.join(summary(*audit(coco.cfg, progress=False))[0])


def test_a_folder_of_nothing_known_names_the_formats(coco):
    (coco.root / 'annotations/train.json').unlink()
    shutil.rmtree(coco.root / 'annotations')
    with pytest.raises(InputError, match='`convnext-dense new PROJECT --data .*` imports COCO, '
                       'YOLO, Pascal VOC'):
        check_config(coco.cfg, training=True)


def test_label_maps_in_a_folder_of_their_own_name(labels):
    shutil.move(labels.root / 'annotations', labels.root / 'masks')
    with pytest.raises(InputError, match='the folder of label maps .* does not exist; .* '
                       '`convnext-dense new PROJECT --data'):
        check_config(labels.cfg, training=True)


def test_colour_masks_name_their_importer(labels):
    for path in labels.root.glob('annotations/*/*.png'):
        Image.open(path).convert('RGB').save(path)
    with pytest.raises(InputError, match='is a colour image of shape .*; expected one channel of '
                       'class numbers; `convnext-dense new PROJECT --data DIR` turns colour masks'):
        check_config(labels.cfg, training=True)
    assert '`convnext-dense new' in '\n'.join(summary(*audit(labels.cfg, progress=False))[0])


def test_annotations_that_the_check_does_not_read_are_said_not_to_be_read(tmp_path):
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (tmp_path / folder).mkdir(parents=True)
    noise_image(1).save(tmp_path / 'JPEGImages/1.jpg')
    (tmp_path / 'Annotations/1.xml').write_text(VOC)
    (tmp_path / 'ImageSets/Main/train.txt').write_text('1\n')
    cfg = Config(dict(default_scope='mmdet', train_dataloader=dict(dataset=dict(
        type='XMLDataset', data_root=f'{tmp_path}/', ann_file='ImageSets/Main/train.txt',
        data_prefix=dict(sub_data_root=''), metainfo=dict(classes=CLASSES), pipeline=[]))))
    reports, findings, notes = audit(cfg, progress=False)
    text = '\n'.join(summary(reports, findings, notes)[0])
    assert 'train: 1 images' in text and 'instances' not in text
    assert 'annotations-not-read' in text and 'XMLDataset' in text
    assert 'holds Pascal VOC in another layout, which `convnext-dense new' in text
