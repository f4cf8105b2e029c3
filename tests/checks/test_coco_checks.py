"""Annotation files, classes and evaluators that do not fit are one line before any work."""
import pytest
from mmengine.registry import DefaultScope
from PIL import Image
from tiny_data import CLASSES, coco_content, noise_image

from convnext_dense.checks.audit_config import audit, summary
from convnext_dense.checks.preflight import check_config
from convnext_dense.datasets import CocoDataset
from convnext_dense.errors import InputError
from convnext_dense.runtime.annotations import build_dataset

MASKS = [dict(type='LoadImageFromFile'),
         dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]


def edit_all(key, value):
    def edit(content):
        for annotation in content['annotations']:
            annotation[key] = value
    return edit


def refuse(coco, edit, message, split='train'):
    """The check and the data set itself refuse an edited file, with one line."""
    content = coco_content(first=1 if split == 'train' else 10)
    edit(content)
    coco.write(split, content)
    with pytest.raises(InputError, match=message) as error:
        check_config(coco.cfg, training=True)
    assert '\n' not in str(error.value)
    with pytest.raises(InputError, match=message):
        build(coco, split)
    reports, findings, notes = audit(coco.cfg, progress=False)
    assert not summary(reports, findings, notes)[1]


def build(coco, split='train'):
    config = coco.cfg[f'{split}_dataloader'].dataset.to_dict()
    with DefaultScope.overwrite_default_scope('mmdet'):
        return build_dataset(config, None)


@pytest.mark.parametrize('edit, message', [
    (edit_all('iscrowd', 1), '6 of their 6 annotations are crowds .iscrowd is 1., such as '),
    (edit_all('ignore', 1), '6 of their 6 annotations are to be ignored'),
    (edit_all('area', 0), '6 of their 6 annotations have an area that is not positive'),
    (edit_all('area', '64'), "6 values that are no numbers.*annotation 1 has the area '64'"),
    (edit_all('bbox', [.1, .2, .3, .4]), '6 boxes within 0 to 1, parts of their images'),
    (edit_all('bbox', [1, 2, .3, 4]), 'have a box of less than a pixel'),
    (edit_all('bbox', [500, 2, 30, 4]), 'the boxes of all 6 annotations lie outside'),
    (edit_all('image_id', 'x'), "all 6 annotations have an id that is not listed"),
    (lambda content: content['annotations'].clear(), 'the file has annotations of no class'),
    (lambda content: content['images'].append(dict(content['images'][0], file_name='9.jpg')),
     '1 image ids used twice: id 1, 2 times'),
    (lambda content: content['categories'].insert(0, dict(id=0, name='disc')),
     "name 'disc', 2 times"),
    (lambda content: content['images'][0].pop('file_name'), 'image 1 has the file_name None'),
    (lambda content: content['images'][0].update(width='32'), "image 1 has the width '32'"),
])
def test_files_that_cannot_be_trained_on(coco, edit, message):
    refuse(coco, edit, message)


def test_masks_that_are_not_there(coco):
    coco.cfg.train_dataloader.dataset.pipeline = MASKS
    for mask in (None, [], [[1, 2]]):
        refuse(coco, edit_all('segmentation', mask), 'the pipeline loads masks: 6 of 6 annotations '
               r'in .*train.json have no mask.* annotation 1 of 1.jpg.*with_mask=False')

    def one(content):
        content['annotations'][4]['segmentation'] = []
    refuse(coco, one, '1 of 6 annotations .* have no mask, such as annotation 5 of 3.jpg')
    coco.write('train', coco_content())
    check_config(coco.cfg, training=True)


def test_masks_that_the_evaluator_asks_for(coco):
    content = coco_content(2, first=10)
    content['annotations'][0]['segmentation'] = []
    coco.write('val', content)
    check_config(coco.cfg, training=True)
    coco.cfg.val_evaluator.metric = ['bbox', 'segm']
    with pytest.raises(InputError, match="val_evaluator: metric='segm': 1 of 4 annotations in "
                       '.*val.json have no mask, such as annotation 1 of 10.jpg'):
        check_config(coco.cfg, training=True)
    reports, findings, notes = audit(coco.cfg, progress=False)
    assert 'have no mask' in '\n'.join(summary(reports, findings, notes)[0])


@pytest.mark.parametrize('edit, message', [
    (lambda content: content['images'].pop(), r'lacks 1 of the 2 images of .*val.json '
     r'\(val_dataloader\), such as id 11; both must name the same annotation file'),
    (lambda content: content['images'][0].update(file_name='other.jpg'),
     'image 10 is other.jpg in .*other.json, but 10.jpg in .*val.json'),
    (lambda content: content['images'][0].update(width=33), 'image 10 is 33x24 in'),
    (lambda content: content['categories'][0].update(name='cone'), r'classes \[disc\] of the '),
])
def test_an_evaluator_that_reads_the_annotations_of_another_data_set(coco, edit, message):
    content = coco_content(2, first=10)
    coco.write('other', content)
    coco.cfg.val_evaluator.ann_file = f'{coco.root}/annotations/other.json'
    check_config(coco.cfg, training=True)
    edit(content)
    coco.write('other', content)
    with pytest.raises(InputError, match=message):
        check_config(coco.cfg, training=True)


# ---- what the data set gives


def targets(dataset):
    """The box's left side and the label of every instance, by image id."""
    return {info['img_id']: [(instance['bbox'][0], instance['bbox_label'])
                             for instance in info['instances']]
            for info in map(dataset.get_data_info, range(len(dataset)))}


def test_a_plain_coco_data_set_is_the_toolkits(coco):
    assert type(build(coco)) is CocoDataset
    assert targets(build(coco)) == {number: [(2, 0), (12, 1)] for number in (1, 2, 3)}


@pytest.mark.parametrize('classes', [CLASSES, CLASSES[::-1]])
@pytest.mark.parametrize('turned', [False, True])
def test_labels_follow_the_classes_in_every_split(coco, classes, turned):
    if turned:
        content = coco_content()
        content['categories'].reverse()
        coco.write('train', content)
    coco.cfg.train_dataloader.dataset.metainfo.classes = classes
    dataset = build(coco)
    assert dataset.metainfo['classes'] == classes
    assert targets(dataset)[1] == [(2, classes.index('disc')), (12, classes.index('box'))]


def test_ids_as_texts_and_values_that_are_missing(coco):
    content = coco_content()
    for image in content['images']:
        image['id'] = f'frame {image["id"]}'
        del image['width']
    for annotation in content['annotations']:
        annotation['image_id'] = f'frame {annotation["image_id"]}'
        for key in ('id', 'area', 'iscrowd'):
            del annotation[key]
    coco.write('train', content)
    check_config(coco.cfg, training=True)
    dataset = build(coco)
    assert targets(dataset) == {f'frame {number}': [(2, 0), (12, 1)] for number in (1, 2, 3)}
    assert dataset.get_data_info(0)['width'] == 32 and dataset.get_data_info(0)['height'] == 24
    reports, findings, notes = audit(coco.cfg, progress=False)
    assert summary(reports, findings, notes)[1]
    assert reports[0].findings.counts == {'value-computed': 3 + 12}


def test_a_missing_size_is_that_of_the_turned_image(coco):
    content = coco_content()
    del content['images'][0]['width']
    exif = Image.Exif()
    exif[0x0112] = 6
    noise_image(1, 24, 32).save(coco.root / 'train/1.jpg', exif=exif)
    coco.write('train', content)
    assert build(coco).get_data_info(0)['width'] == 32


def test_an_image_without_size_that_cannot_be_read(coco):
    content = coco_content()
    del content['images'][1]['height']
    (coco.root / 'train/2.jpg').write_bytes(b'none')
    coco.write('train', content)
    with pytest.raises(InputError, match='image 2 states no width and height, and 2.jpg in .*train'
                       '.* cannot be read'):
        build(coco)


def test_what_mmdets_own_reader_would_not_read_is_refused_for_classes_derived_from_it(coco):
    coco.cfg.train_dataloader.dataset.type = 'DeepFashionDataset'
    for change in (lambda content: content['annotations'][0].pop('area'),
                   lambda content: content['images'][0].pop('width'),
                   lambda content: content['annotations'][0].update(image_id='1')):
        content = coco_content()
        change(content)
        coco.write('train', content)
        with pytest.raises(InputError, match="type 'convnext_dense.CocoDataset' reads it"):
            check_config(coco.cfg, training=True)
