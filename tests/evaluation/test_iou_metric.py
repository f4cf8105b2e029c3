"""IoUMetric in place of mmseg's: same options, same keys, same figures; bad input is named."""
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric as Reference
from PIL import Image

import convnext_dense
from convnext_dense.errors import InputError
from convnext_dense.evaluation import IoUMetric, iou_metric
from convnext_dense.registry import METRICS

CLASSES = ('wall', 'door', 'sky', 'never')


def samples(count=6, seed=0, dtype=torch.uint8):
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        shape = tuple(rng.integers(8, 30, 2))
        label = rng.integers(0, 3, shape)
        prediction = np.where(rng.random(shape) < .7, label, rng.integers(0, 3, shape))
        label[rng.random(shape) < .1] = 255
        made.append({'pred_sem_seg': {'data': torch.from_numpy(prediction)[None]},
                     'gt_sem_seg': {'data': torch.from_numpy(label)[None].to(dtype)},
                     'img_path': f'/data/images/{number:03}.jpg', 'reduce_zero_label': True})
    return made


def run(kind, data, classes=CLASSES, **options):
    metric = kind(**options)
    metric.dataset_meta = {'classes': classes}
    for sample in data:
        metric.process(None, [sample])
    return metric.evaluate(len(data))


@pytest.mark.parametrize('options', [
    {}, {'iou_metrics': 'mDice'}, {'iou_metrics': ['mIoU', 'mDice', 'mFscore'], 'beta': 2},
    {'nan_to_num': 0}, {'ignore_index': 1}, {'prefix': 'val'}])
@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64])
def test_log_equals_mmseg(options, dtype):
    data = samples(dtype=dtype)
    if options.get('ignore_index') == 1:
        for sample in data:
            label = sample['gt_sem_seg']['data']
            label[label == 255] = 1
    expected, log = (run(kind, data, **options) for kind in (Reference, IoUMetric))
    assert list(log) == list(expected)
    assert log == {key: round(float(value), 2) for key, value in expected.items()}
    assert all(type(value) is float for value in log.values())


@pytest.mark.skipif('CONVNEXT_DENSE_CAMVID' not in os.environ,
                    reason='CONVNEXT_DENSE_CAMVID does not name the CamVid folder')
def test_counts_of_every_camvid_image_equal_mmseg():
    """The maps of the images before stand for predictions: most of a street stays the same."""
    paths = sorted(Path(os.environ['CONVNEXT_DENSE_CAMVID'], 'annotations/validation').iterdir())
    maps = [torch.from_numpy(np.array(Image.open(path))) for path in paths]
    data = [{'pred_sem_seg': {'data': torch.where(before == 255, 3, before).long()[None]},
             'gt_sem_seg': {'data': label[None]}, 'img_path': str(path)}
            for path, before, label in zip(paths, maps[-1:] + maps[:-1], maps, strict=True)]
    classes = [f'class {number}' for number in range(11)]
    theirs, ours = Reference(), IoUMetric()
    for metric in (theirs, ours):
        metric.dataset_meta = {'classes': classes}
        metric.process(None, data)
    assert len(ours.results) == len(paths) == 101
    for expected, result in zip(theirs.results, ours.results, strict=True):
        table = np.zeros((11, 11), np.int64)
        table[result['label'], result['prediction']] = result['pixels']
        right = table.diagonal()
        counts = right, table.sum(0) + table.sum(1) - right, table.sum(0), table.sum(1)
        assert [values.tolist() for values in counts] == [
            values.long().tolist() for values in expected]
    log = ours.evaluate(101)
    assert log == {key: round(float(value), 2) for key, value in theirs.evaluate(101).items()}
    assert 30 < log['mIoU'] < 90


def test_counts_stay_whole_where_mmsegs_do_not():
    # 2**24 + 1 pixels: float32 cannot hold the sum
    metric = IoUMetric()
    metric.dataset_meta = {'classes': CLASSES[:2]}
    cell = {'label': np.array([0], np.int32), 'prediction': np.array([0], np.int32)}
    results = [dict(cell, name='a', pixels=np.array([2 ** 24])),
               dict(cell, name='b', pixels=np.array([1])),
               dict(cell, name='c', prediction=np.array([1], np.int32), pixels=np.array([1]))]
    seen = {}
    figures = iou_metric.iou_figures
    try:
        iou_metric.iou_figures = lambda confusion, *rest: seen.update(
            confusion=confusion) or figures(confusion, *rest)
        metric.compute_metrics(results)
    finally:
        iou_metric.iou_figures = figures
    assert seen['confusion'].tolist() == [[2 ** 24 + 1, 1], [0, 0]]


def test_a_image_that_comes_twice_counts_once():
    data = samples()
    assert run(IoUMetric, data + data[:2]) == run(IoUMetric, data)


def test_boundary_iou_is_added():
    data = samples()
    log = run(IoUMetric, data, boundary=True)
    assert log == {**run(IoUMetric, data), 'mBoundaryIoU': log['mBoundaryIoU']}
    for sample in data:
        label = sample['gt_sem_seg']['data']
        label[label == 255] = 0
        sample['pred_sem_seg']['data'] = label.long()
    assert run(IoUMetric, data, boundary=True)['mBoundaryIoU'] == 100


def test_tables_of_another_device_are_fetched_together(monkeypatch):
    monkeypatch.setattr(iou_metric, 'BATCH', 4)
    metric = IoUMetric()
    metric.dataset_meta = {'classes': CLASSES}
    fetched, fetch = [], IoUMetric._fetch
    monkeypatch.setattr(IoUMetric, '_fetch', lambda self: fetched.append(len(self._waiting))
                        or fetch(self))
    data = samples()
    metric.process(None, data)
    assert fetched == [1] * 6  # on a CPU there is nothing to wait for
    assert metric.evaluate(6) == run(IoUMetric, data)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_figures_on_a_gpu():
    data = samples(70)
    expected = run(IoUMetric, data, boundary=True)
    for sample in data:
        sample['pred_sem_seg']['data'] = sample['pred_sem_seg']['data'].cuda()
    assert run(IoUMetric, data, boundary=True) == expected


@pytest.mark.parametrize('shift', [True, False])
def test_format_only_writes_what_mmseg_writes(tmp_path, shift):
    data = samples()
    for sample in data:
        sample['reduce_zero_label'] = shift
        del sample['gt_sem_seg']
    assert run(IoUMetric, data, format_only=True, output_dir=str(tmp_path / 'ours')) == {}
    reference = Reference(format_only=True, output_dir=str(tmp_path / 'theirs'))
    reference.dataset_meta = {'classes': CLASSES}
    reference.process(None, data)
    names = sorted(path.name for path in (tmp_path / 'ours').iterdir())
    assert names == [f'{number:03}.png' for number in range(6)]
    for name in names:
        ours, theirs = (Image.open(tmp_path / side / name) for side in ('ours', 'theirs'))
        assert ours.mode == theirs.mode == 'L'
        assert np.array_equal(np.array(ours), np.array(theirs))


def test_predictions_are_written_beside_the_evaluation(tmp_path):
    data = samples(2)
    assert run(IoUMetric, data, output_dir=str(tmp_path / 'maps')) == run(IoUMetric, data)
    written = np.array(Image.open(tmp_path / 'maps/001.png'))
    assert np.array_equal(written, data[1]['pred_sem_seg']['data'][0].numpy() + 1)


def test_images_of_one_name_in_several_folders_keep_them_and_are_never_lost(tmp_path):
    data = samples(4)
    for number, sample in enumerate(data):
        sample['img_path'] = f'/data/images/cam{number % 2}/{number // 2}.jpg'
    run(IoUMetric, data, output_dir=str(tmp_path / 'maps'), image_root='/data/images/')
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob('*/*/*')) == [
        f'maps/cam{camera}/{number}.png' for camera in (0, 1) for number in (0, 1)]
    with pytest.raises(InputError, match='of /data/images/cam0/0.jpg and /data/images/cam1/0.jpg '
                       'would both be 0.png .* set image_root'):
        run(IoUMetric, data, output_dir=str(tmp_path / 'flat'))


def test_labels_beyond_8_bits_are_written_with_16(tmp_path):
    sample = dict(pred_sem_seg=dict(data=torch.tensor([[[3, 999]]])), img_path='a.jpg')
    metric = IoUMetric(format_only=True, output_dir=str(tmp_path), reduce_zero_label=False)
    metric.dataset_meta = dict(classes=range(1000))
    metric.process(None, [sample])
    with Image.open(tmp_path / 'a.png') as image:
        assert np.array(image).tolist() == [[3, 999]]


def test_test_time_augmentation_does_not_lose_the_zero_label(tmp_path):
    # mmseg's SegTTAModel hands on img_path alone
    sample = samples(1)[0]
    del sample['reduce_zero_label']
    with pytest.raises(InputError, match=r"000.jpg: .*set the metric's reduce_zero_label"):
        run(IoUMetric, [sample], format_only=True, output_dir=str(tmp_path))
    run(IoUMetric, [sample], format_only=True, output_dir=str(tmp_path), reduce_zero_label=True)
    assert np.array_equal(np.array(Image.open(tmp_path / '000.png')),
                          sample['pred_sem_seg']['data'][0].numpy() + 1)


@pytest.mark.parametrize('change,message', [
    (lambda sample: sample['gt_sem_seg']['data'].fill_(4), r'label 4 annotated, .* 0\.\.\.3'),
    (lambda sample: sample['pred_sem_seg']['data'].fill_(7), r'label 7 predicted, .* 0\.\.\.3'),
    (lambda sample: sample['pred_sem_seg']['data'].fill_(-1), 'a label predicted'),
    (lambda sample: sample['pred_sem_seg'].update(data=torch.zeros(1, 3, 4)),
     r'predicted 4x3, but annotated \d+x\d+'),
    (lambda sample: sample.pop('gt_sem_seg'), 'no annotated label map')])
def test_bad_label_maps_are_named_with_their_image(change, message):
    sample = samples(1)[0]
    change(sample)
    with pytest.raises(InputError, match=f'000.jpg: .*{message}'):
        run(IoUMetric, [sample])


@pytest.mark.parametrize('options,message', [
    ({'iou_metrics': ['IoU']}, "iou_metrics 'IoU' is none of mIoU"),
    ({'format_only': True}, 'format_only needs output_dir')])
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        IoUMetric(**options)


def test_an_empty_data_set_is_no_silent_zero():
    with pytest.raises(InputError, match='no image was evaluated'):
        run(IoUMetric, [])


def test_configs_find_it_in_the_registry():
    assert METRICS.get('convnext_dense.IoUMetric') is IoUMetric is convnext_dense.IoUMetric
