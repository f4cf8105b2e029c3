"""AP of perfect detections on annotation files that people have: the right value, or one line."""
import copy
import json

import pytest
import torch

from convnext_dense.errors import InputError
from convnext_dense.evaluation import CocoMetric

SQUARE = [8, 8, 48, 8, 48, 48, 8, 48]
RLE = {'size': [64, 96], 'counts': [8 * 64 + 8, *[40, 24] * 39, 40, 16 + 48 * 64]}


def content():
    return dict(
        images=[dict(id=7, file_name='7.jpg', width=96, height=64)],
        annotations=[dict(id=1, image_id=7, category_id=1, bbox=[8, 8, 40, 40], area=1600,
                          iscrowd=0, segmentation=[SQUARE])],
        categories=[dict(id=1, name='cat')])


def evaluate(tmp_path, edit, metric=('bbox', 'segm'), img_id=None, classes=('cat', ), label=0,
             text=None):
    """(box AP, mask AP) of a detection that is the annotation, on an edited file."""
    c = content()
    edit(c, c['images'][0], c['annotations'][0])
    path = tmp_path / 'perfect.json'
    path.write_text(text(c) if text else json.dumps(c))
    judge = CocoMetric(str(path), list(metric))
    judge.dataset_meta = dict(classes=classes)
    mask = torch.zeros(1, 64, 96, dtype=torch.bool)
    mask[:, 8:48, 8:48] = True
    judge.process(None, [dict(
        img_id=c['images'][0]['id'] if img_id is None else img_id, ori_shape=(64, 96),
        pred_instances=dict(bboxes=torch.tensor([[8., 8, 48, 48]]), scores=torch.tensor([.9]),
                            labels=torch.tensor([label]), masks=mask))])
    figures = judge.evaluate(1)
    return tuple(figures[f'coco/{kind}_mAP'] for kind in metric)


def ids(value):
    def edit(c, i, a):
        i['id'] = a['image_id'] = value
    return edit


def category_ids(value):
    def edit(c, i, a):
        c['categories'][0]['id'] = a['category_id'] = value
    return edit


def both_ids(image, annotation):
    def edit(c, i, a):
        i['id'], a['image_id'] = image, annotation
    return edit


def without(*keys):
    def edit(c, i, a):
        for key in keys:
            (a if key in a else i).pop(key)
    return edit


def put(**values):
    def edit(c, i, a):
        a.update(values)
    return edit


def put_image(**values):
    def edit(c, i, a):
        i.update(values)
    return edit


def put_top(**values):
    def edit(c, i, a):
        c.update(values)
    return edit


def with_others(c, i, a):
    """Other images and categories with other kinds of ids around."""
    c['images'] += [dict(id='7', file_name='x'), dict(id=2**70, file_name='y')]
    c['categories'] += [dict(id='1', name='dog'), dict(id=-5, name=3)]


def name_of(value):
    """The same name of a function in every process; other values have pytest's own."""
    return value.__qualname__.partition('.')[0] if callable(value) else None


@pytest.mark.parametrize('edit', [
    put(), put_top(info={'year': '2024'}), put_top(info=None, licenses='MIT', extra=[1, {}]),
    put_image(license='1', date_captured=5, coco_url=None, flickr_url=[]),
    put(attributes={'occluded': False}, keypoints='none', num_keypoints=None, score='high'),
    lambda c, i, a: c['categories'][0].update(supercategory=5, keypoints=None, skeleton='no'),
    ids(2**53 + 1), ids(2**63), ids(2**70), ids(0), ids(-3), ids(7.0), ids('abc'), ids('7'),
    ids(''), both_ids('7', 7), both_ids(7, '7'), both_ids(2**53 + 1, str(2**53 + 1)),
    category_ids(2**53 + 1), category_ids('cat'), category_ids(0), category_ids(2**40),
    put(id=0), put(id=2**70), put(id='a'), with_others,
    without('area'), put(area=None), without('iscrowd'), put(iscrowd=None), put(iscrowd=False),
    put(iscrowd=0.0), without('id'), without('width'), without('width', 'height'),
    put_image(height=None), put_image(width=96.0, height=64.0), without('file_name'),
    put_image(file_name=None), without('bbox'), put(segmentation=RLE),
    without('bbox', 'area', 'iscrowd', 'id', 'width', 'height'),
    put(segmentation=[SQUARE, []]), put(segmentation=[SQUARE, [1, 2]])], ids=name_of)
def test_what_does_not_matter_or_can_be_computed_changes_nothing(tmp_path, edit):
    assert evaluate(tmp_path, edit) == (1, 1)


def test_area_decides_the_size_whether_stated_or_computed(tmp_path):
    def figure(edit):
        c = content()
        edit(c, c['images'][0], c['annotations'][0])
        path = tmp_path / 'a.json'
        path.write_text(json.dumps(c))
        return CocoMetric(str(path))._truth.content.areas.tolist()
    assert figure(put()) == figure(without('area')) == [1600]
    assert figure(put(area=None, segmentation=RLE)) == [1600]
    assert figure(put(area=None, segmentation=[], bbox=[8, 8, 30, 30])) == [900]
    assert figure(put(area=None, segmentation=[[8, 8, 48, 8, 8, 48]])) == [800]  # half


@pytest.mark.parametrize('text', [
    lambda c: '\ufeff' + json.dumps(c),
    lambda c: json.dumps(c).replace('"iscrowd": 0', '"iscrowd": NaN'),
    lambda c: json.dumps(c).replace('"area": 1600', '"area": NaN, "score": Infinity'),
    lambda c: json.dumps(dict(reversed(c.items())), indent=3)])
def test_json_as_other_tools_write_it(tmp_path, text):
    assert evaluate(tmp_path, put(), text=text) == (1, 1)


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-8-sig'])
def test_other_encodings(tmp_path, encoding):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content()), encoding=encoding)
    CocoMetric(str(path), ['bbox', 'segm'])


NO_MASKS = [None, [], [[]], [[], []], {}, '', [None]]
BAD_MASKS = [[[1, 2]], [[8, 8, 40, 40]], SQUARE, 5, 'none', [['8'] * 8], {'counts': [3]},
             {'size': [64, 96], 'counts': [1, 2]}, {'size': [64, 96], 'counts': '~~'},
             {'size': [64, 96], 'counts': []}, {'size': ['64', 96], 'counts': [6144]},
             {'size': [64, 96], 'counts': [True, 6143]}, [[1e200] * 8]]


@pytest.mark.parametrize('mask', NO_MASKS + BAD_MASKS, ids=repr)
def test_no_mask_is_one_error_for_masks_and_no_matter_for_boxes(tmp_path, mask):
    what = 'no mask, such as' if mask in NO_MASKS else 'no mask that can be used, such as'
    with pytest.raises(InputError, match=f'1 of 1 annotations in .*perfect.json have {what} '
                       "annotation 1 of 7.jpg: .*; evaluate boxes alone"):
        evaluate(tmp_path, put(segmentation=mask))
    assert evaluate(tmp_path, put(segmentation=mask), ['bbox']) == (1, )


def test_masks_are_counted_and_those_of_other_classes_are_not_asked_for(tmp_path):
    def edit(c, i, a):
        c['categories'].append(dict(id=2, name='dog'))
        c['annotations'] += [dict(a, id=2, segmentation=None), dict(a, id=3, segmentation=[])]
    with pytest.raises(InputError, match='2 of 3 annotations .* have no mask, .*annotation 2'):
        evaluate(tmp_path, edit)

    def other_class(c, i, a):
        edit(c, i, a)
        for annotation in c['annotations'][1:]:
            annotation['category_id'] = 2
    assert evaluate(tmp_path, other_class) == (1, 1)


def test_the_mask_of_another_image_is_named_when_the_image_comes(tmp_path):
    with pytest.raises(InputError, match='annotation 1 of 7.jpg in .* has a mask of 32x32, but '
                       'the image is 96x64'):
        evaluate(tmp_path, put(segmentation={'size': [32, 32], 'counts': [0, 1024]}))


@pytest.mark.parametrize('edit, message', [
    (put(area='1600'), "annotation 1 has the area '1600'; write numbers as numbers"),
    (put(iscrowd='0'), "annotation 1 has the iscrowd '0'"),
    (put(ignore='false'), "annotation 1 has the ignore 'false'"),
    (put_image(width='96'), "image 7 has the width '96'"),
    (put_image(height=0), 'image 7 has the height 0'),
    (put_image(height=-64), 'image 7 has the height -64'),
    (put_image(width=96.5), 'image 7 has the width 96.5'),
    (put(bbox=['8', 8, 40, 40]), r"annotation 1 has the bbox \['8', 8, 40, 40\]; a box is"),
    (put(bbox=[8, 8, 40]), r'annotation 1 has the bbox \[8, 8, 40\]'),
    (put(bbox=[8, 8, 40, None]), 'four finite numbers'),
    (put(bbox=None, segmentation=None), 'annotation 1 has the bbox None'),
    (put(bbox=[.1, .1, .4, .6]), 'boxes within 0 to 1, parts of their images: annotation 1 '),
    (lambda c, i, a: c['images'].append(dict(i, file_name='8.jpg')),
     '1 image ids used twice: id 7, 2 times; give each image an id of its own'),
    (lambda c, i, a: c['images'].append(dict(i, id=7.0)), 'image ids used twice'),
    (lambda c, i, a: c['annotations'].append(copy.deepcopy(a)), 'annotation ids used twice: id 1'),
    (lambda c, i, a: c['categories'].insert(0, dict(id=0, name='cat', supercategory='none')),
     r"name 'cat', 2 times \(ids 0, 1\); keep one of them: some tools add a root category"),
    (lambda c, i, a: c['categories'].append(dict(id=1, name='dog')), "id 1 of 'dog'"),
    (put(image_id=None), 'annotation 1 has the image_id None'),
    (put(category_id=[1]), r'annotation 1 has the category_id \[1\]'),
    (put(category_id=True), 'annotation 1 has the category_id True'),
    (put(image_id=99), 'all 1 annotations have an id that is not listed: annotation 1: image_id '
     '99, the ids are 7'),
    (put(category_id='dog'), "category_id 'dog', the ids are 1"),
    (without('image_id'), 'has the image_id None'),
    (lambda c, i, a: i.pop('id'), 'number 0 has the id None'),
    (put_image(id=[7]), r'number 0 has the id \[7\]'),
    (lambda c, i, a: c['images'].append('8.jpg'), 'images that cannot be used: number 1'),
    (lambda c, i, a: c['categories'][0].pop('name'), 'number 0 has the id 1 and the name None'),
    (put_top(images=None), "no list 'images'"), (put_top(annotations={}), "no list 'annotations'"),
    (put_top(categories='cat'), "no list 'categories'")], ids=name_of)
def test_what_would_be_counted_wrongly_is_one_line(tmp_path, edit, message):
    with pytest.raises(InputError, match=message) as error:
        evaluate(tmp_path, edit, ['bbox'], img_id=7)
    assert '\n' not in str(error.value) and 'perfect.json' in str(error.value)


@pytest.mark.parametrize('name, classes', [
    (1, (1, )), (1, ('1', )), ('1', (1, )), (True, ('True', )), (1.5, (1.5, ))])
def test_names_that_are_numbers_are_compared_as_texts(tmp_path, name, classes):
    assert evaluate(tmp_path, lambda c, i, a: c['categories'][0].update(name=name),
                    classes=classes) == (1, 1)


def test_a_class_that_differs_in_case_or_blanks_is_shown(tmp_path):
    with pytest.raises(InputError, match=r"\('Cat ' and 'cat' differ in case or blanks\)"):
        evaluate(tmp_path, put(), classes=('Cat ', ))


@pytest.mark.parametrize('order', [['cat', 'dog', 'cow'], ['cow', 'cat', 'dog']])
def test_labels_follow_the_classes_of_the_config(tmp_path, order):
    def edit(c, i, a):
        c['categories'] = [dict(id={'cat': 1, 'dog': 2, 'cow': 3}[name], name=name)
                           for name in order]
    assert evaluate(tmp_path, edit, classes=('dog', 'cow', 'cat'), label=2) == (1, 1)


def test_ids_that_are_numbers_and_texts_in_one_file(tmp_path):
    c = content()
    c['images'].append(dict(id='8', file_name='8.jpg', width=96, height=64))
    c['annotations'].append(dict(c['annotations'][0], id=2, image_id='8'))
    path = tmp_path / 'perfect.json'
    path.write_text(json.dumps(c))
    judge = CocoMetric(str(path))
    judge.dataset_meta = dict(classes=('cat', ))
    for image_id in ('8', 7):
        judge.process(None, [dict(img_id=image_id, ori_shape=(64, 96), pred_instances=dict(
            bboxes=torch.tensor([[8., 8, 48, 48]]), scores=torch.tensor([.5]),
            labels=torch.tensor([0])))])
    assert judge.evaluate(2)['coco/bbox_mAP'] == 1


def test_results_are_written_with_the_ids_of_the_file(tmp_path):
    c = content()
    c['images'][0]['id'] = c['annotations'][0]['image_id'] = 'a/7'
    path = tmp_path / 'perfect.json'
    path.write_text(json.dumps(c))
    judge = CocoMetric(str(path), format_only=True, outfile_prefix=str(tmp_path / 'out'))
    judge.dataset_meta = dict(classes=('cat', ))
    judge.process(None, [dict(img_id='a/7', ori_shape=(64, 96), pred_instances=dict(
        bboxes=torch.tensor([[8., 8, 48, 48]]), scores=torch.tensor([.5]),
        labels=torch.tensor([0])))])
    judge.evaluate(1)
    assert json.loads((tmp_path / 'out.bbox.json').read_text()) == [
        dict(image_id='a/7', category_id=1, score=.5, bbox=[8, 8, 40, 40])]
