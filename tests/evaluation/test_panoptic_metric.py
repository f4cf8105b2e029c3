"""Panoptic quality against its definition, written out pixel by pixel."""
import json

import cv2
import numpy as np
import pytest
import torch

from convnext_dense.datasets.panoptic import segment_colours, segment_ids
from convnext_dense.errors import InputError
from convnext_dense.evaluation import PanopticMetric

CATEGORIES = [dict(id=7, name='cat', isthing=1), dict(id=3, name='dog', isthing=1),
              dict(id=20, name='sky', isthing=0), dict(id=21, name='grass', isthing=0)]
META = dict(classes=('cat', 'dog', 'sky', 'grass'))
VOID = 4  # mmdet's number for no class


def write(folder, truths):
    """Annotations in COCO's panoptic format; ``truths`` are (ids, {id: (category, crowd)})."""
    folder.mkdir(exist_ok=True)
    images, annotations = [], []
    for number, (ids, segments) in enumerate(truths, 1):
        cv2.imwrite(str(folder / f'{number}.png'), segment_colours(ids)[..., ::-1])
        images.append(dict(id=number, file_name=f'{number}.jpg', height=ids.shape[0],
                           width=ids.shape[1]))
        annotations.append(dict(image_id=number, file_name=f'{number}.png', segments_info=[
            dict(id=segment, category_id=category, iscrowd=crowd, area=int((ids == segment).sum()),
                 bbox=[0, 0, 1, 1]) for segment, (category, crowd) in segments.items()]))
    path = folder.with_suffix('.json')
    path.write_text(json.dumps(dict(images=images, annotations=annotations,
                                    categories=CATEGORIES)))
    return str(path), str(folder)


def random_truth(rng, size=24):
    """Rectangles over void: some segments, a crowd, some stuff."""
    ids, segments = np.zeros((size, size), np.int32), {}
    for number in range(8):
        top, left = rng.integers(0, size - 6, 2)
        height, width = rng.integers(3, 12, 2)
        segment = int(rng.integers(1, 256**3))
        ids[top:top + height, left:left + width] = segment
        segments[segment] = (CATEGORIES[rng.integers(4)]['id'], int(number == 3))
    return ids, {segment: value for segment, value in segments.items() if (ids == segment).any()}


def noisy_prediction(rng, ids, segments):
    """mmdet's numbers: the truth with moved edges, wrong classes and segments of its own."""
    labels = {one['id']: label for label, one in enumerate(CATEGORIES)}
    predicted = np.full(ids.shape, VOID)
    for number, (segment, (category, _)) in enumerate(segments.items(), 1):
        mask = np.roll(ids == segment, rng.integers(-1, 2, 2), (0, 1))
        label = labels[category] if rng.random() < .8 else int(rng.integers(4))
        predicted[mask] = label + (1000 * number if label < 2 else 0)
    predicted[:4, :4] = 2
    return predicted


def reference(pairs):
    """The definition of arXiv 1801.00868 with COCO's rules for void and crowds: {category: ...}"""
    sums = {one['id']: [0., 0, 0, 0] for one in CATEGORIES}  # IoU, TP, FP, FN
    for (ids, segments), predicted in pairs:
        matched_truth, matched_prediction = set(), set()
        found = [number for number in np.unique(predicted) if number % 1000 != VOID]
        for number in found:
            category = CATEGORIES[number % 1000]['id']
            for segment, (true_category, crowd) in segments.items():
                if crowd or category != true_category:
                    continue
                inside = (predicted == number) & (ids == segment)
                union = (predicted == number).sum() + (ids == segment).sum() - inside.sum() - (
                    (predicted == number) & (ids == 0)).sum()
                if inside.sum() / union > .5:
                    sums[category][0] += inside.sum() / union
                    sums[category][1] += 1
                    matched_truth.add(segment)
                    matched_prediction.add(number)
        for segment, (category, crowd) in segments.items():
            sums[category][3] += not crowd and segment not in matched_truth
        for number in found:
            if number in matched_prediction:
                continue
            category = CATEGORIES[number % 1000]['id']
            ignored = (predicted == number) & ((ids == 0) | np.isin(ids, [
                segment for segment, (other, crowd) in segments.items()
                if crowd and other == category]))
            sums[category][2] += ignored.sum() / (predicted == number).sum() <= .5
    return sums


def figures(sums, names):
    """PQ, SQ and RQ in percent, averaged over the classes that occur."""
    rows = []
    for one in CATEGORIES:
        iou, tp, fp, fn = sums[one['id']]
        if one['name'] in names and tp + fp + fn:
            rows.append((iou / (tp + .5 * fp + .5 * fn), iou / tp if tp else 0.,
                         tp / (tp + .5 * fp + .5 * fn)))
    return 100 * np.mean(rows, axis=0)


def sample(number, predicted):
    return dict(img_id=number, img_path=f'{number}.jpg', pred_panoptic_seg=dict(
        sem_seg=torch.from_numpy(predicted)[None].int()))


def evaluated(path, folder, predictions, **kwargs):
    metric = PanopticMetric(ann_file=path, seg_prefix=folder, **kwargs)
    metric.dataset_meta = META
    metric.process(None, [sample(number, predicted) for number, predicted in predictions])
    return metric.evaluate(len(predictions))


def test_the_figures_are_those_of_the_definition(tmp_path):
    rng = np.random.default_rng(0)
    truths = [random_truth(rng) for _ in range(12)]
    predictions = [noisy_prediction(rng, *truth) for truth in truths]
    found = evaluated(*write(tmp_path / 'truth', truths), enumerate_list(predictions),
                      classwise=True)
    sums = reference(list(zip(truths, predictions, strict=True)))
    for suffix, names in (('', META['classes']), ('_th', ('cat', 'dog')),
                          ('_st', ('sky', 'grass'))):
        expected = figures(sums, names)
        assert [found[f'coco_panoptic/{key}{suffix}'] for key in ('PQ', 'SQ', 'RQ')] == \
            pytest.approx(expected, abs=1e-9)
        assert 10 < expected[0] < 90
    assert found['coco_panoptic/cat_PQ'] == pytest.approx(figures(sums, ('cat', ))[0])


def enumerate_list(predictions):
    return list(enumerate(predictions, 1))


def test_a_perfect_prediction_has_100_percent_and_is_written_where_it_is_asked_for(tmp_path):
    ids = np.zeros((6, 6), np.int32)
    ids[:3], ids[3:, :3] = 70000, 5
    path, folder = write(tmp_path / 'truth', [(ids, {70000: (20, 0), 5: (7, 0)})])
    predicted = np.full((6, 6), VOID)
    predicted[:3], predicted[3:, :3] = 2, 1000
    found = evaluated(path, folder, [(1, predicted)], outfile_prefix=str(tmp_path / 'out/mine'))
    assert found['coco_panoptic/PQ'] == found['coco_panoptic/PQ_st'] == 100
    segments = json.loads((tmp_path / 'out/mine.panoptic.json').read_text())
    stored = cv2.imread(str(tmp_path / 'out/mine.panoptic/1.png'))[..., ::-1]
    assert {one['id']: one['category_id']
            for one in segments['annotations'][0]['segments_info']} == {3: 20, 1001: 7}
    assert np.array_equal(segment_ids(stored), np.where(ids == 5, 1001, np.where(ids, 3, 0)))


def test_an_image_without_a_prediction_counts_as_missed_and_a_repeated_one_once(tmp_path):
    ids = np.full((4, 4), 9, np.int32)
    path, folder = write(tmp_path / 'truth', [(ids, {9: (7, 0)}), (ids, {9: (7, 0)})])
    whole = np.full((4, 4), 1000)
    found = evaluated(path, folder, [(1, whole), (1, whole)])
    assert found['coco_panoptic/PQ'] == pytest.approx(100 / 1.5)
    assert 'coco_panoptic/PQ_st' not in found


def test_segments_of_colours_come_back():
    ids = np.array([[0, 255, 256], [65535, 65536, 256**3 - 1]])
    assert np.array_equal(segment_ids(segment_colours(ids)), ids)


@pytest.mark.parametrize('classes, message', [
    (('dog', 'cat', 'sky', 'grass'), 'write metainfo.classes as the file has them, in its order'),
    (('cat', 'dog', 'sky', 'sea'), 'write metainfo.classes as the file has them')])
def test_other_classes_than_the_file_s_are_refused_before_any_work(classes, message, tmp_path):
    path, folder = write(tmp_path / 'truth', [(np.ones((4, 4), np.int32), {1: (7, 0)})])
    metric = PanopticMetric(ann_file=path, seg_prefix=folder)
    with pytest.raises(InputError, match=message):
        metric.dataset_meta = dict(classes=classes)


def test_things_behind_stuff_are_refused(tmp_path):
    path, folder = write(tmp_path / 'truth', [(np.ones((4, 4), np.int32), {1: (7, 0)})])
    content = json.loads(open(path).read())
    content['categories'].reverse()
    (tmp_path / 'other.json').write_text(json.dumps(content))
    metric = PanopticMetric(ann_file=str(tmp_path / 'other.json'), seg_prefix=folder)
    with pytest.raises(InputError, match="things come after 'grass', which is stuff"):
        metric.dataset_meta = dict(classes=META['classes'][::-1])


@pytest.mark.parametrize('content, message', [
    ('{', 'is no JSON'), ('{"images": []}', 'has no list of annotations'),
    ('[]', 'has no list of images'),
    ('{"images": [], "annotations": [{"image_id": 1}], "categories": []}',
     r"annotations\[0\] has no 'file_name'"),
    ('{"images": [], "annotations": [], "categories": []}', 'has no annotations'),
    ('{"images": [], "annotations": [{"image_id": 1, "file_name": "../1.png", "segments_info": []}]'
     ', "categories": []}', 'file_name ../1.png of image 1 leads out of the folder')])
def test_a_file_of_another_format_is_refused(content, message, tmp_path):
    (tmp_path / 'file.json').write_text(content)
    with pytest.raises(InputError, match=message):
        PanopticMetric(ann_file=str(tmp_path / 'file.json'), seg_prefix=str(tmp_path))


def test_a_missing_png_and_a_model_without_panoptic_results_are_named(tmp_path):
    path, folder = write(tmp_path / 'truth', [(np.ones((4, 4), np.int32), {1: (7, 0)})])
    with pytest.raises(InputError, match=r'set\s+model.test_cfg.panoptic_on=True'):
        metric = PanopticMetric(ann_file=path, seg_prefix=folder)
        metric.dataset_meta = META
        metric.process(None, [dict(img_id=1, img_path='1.jpg')])
    (tmp_path / 'truth/1.png').unlink()
    with pytest.raises(InputError, match='PanopticMetric: .*1.png'):
        evaluated(path, folder, [(1, np.full((4, 4), 1000))])
    with pytest.raises(InputError, match='image 5.jpg has the id 5, which .* does not have'):
        evaluated(path, folder, [(5, np.full((4, 4), 1000))])
