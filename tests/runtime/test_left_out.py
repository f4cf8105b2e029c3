"""A validation image that cannot be read is left out, with metrics of the libraries as well."""
import json
import shutil
import uuid

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from test_fuzzed_settings import config_of
from tiny import detector_config, segmenter_config

from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.runtime import Runner

METRICS = {
    'mmseg': (segmenter_config, dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])),
    'ours': (segmenter_config, dict(type='convnext_dense.IoUMetric', iou_metrics=['mIoU'],
                                    reduce_zero_label=True)),
}


@MODELS.register_module()
class AllFound(BaseModel):
    """A detector that finds every box of an annotation file."""

    def __init__(self, ann_file):
        super().__init__(data_preprocessor=dict(type='mmdet.DetDataPreprocessor'))
        with open(ann_file) as file:
            self.content = json.load(file)

    def forward(self, inputs, data_samples, mode):
        labels = {one['id']: label for label, one in enumerate(self.content['categories'])}
        for sample in data_samples:
            found = [one for one in self.content['annotations']
                     if one['image_id'] == sample.img_id]
            boxes = torch.tensor([one['bbox'] for one in found])
            boxes[:, 2:] += boxes[:, :2]
            sample.pred_instances = InstanceData(
                bboxes=boxes, scores=torch.ones(len(found)),
                labels=torch.tensor([labels[one['category_id']] for one in found]))
        return data_samples


def evaluate(make, metric, root, work_dir, batch_size=1, model=None):
    """Figures, and how many images they are of."""
    config = config_of(make, root, work_dir)
    config.model = model or config.model
    config.test_evaluator = metric
    config.update(experiment_name=uuid.uuid4().hex, randomness=dict(seed=3),
                  bad_images=dict(limit=.5))
    config.train_dataloader = config.train_cfg = config.optim_wrapper = None
    config.val_dataloader = config.val_cfg = config.val_evaluator = config.param_scheduler = None
    config.custom_hooks = []
    config.test_dataloader.batch_size = batch_size
    runner = Runner.from_cfg(config)
    seen = []
    loop = runner.test_loop
    process = loop.evaluator.process

    def count(data_samples, data_batch=None):
        seen.extend(sample.img_path for sample in data_samples)
        return process(data_samples, data_batch)
    loop.evaluator.process = count
    return runner.test(), sorted(seen)


@pytest.mark.parametrize('name, batch_size', [
    ('mmseg', 1), ('ours', 2), *(pytest.param(*one, marks=pytest.mark.slow)
                                 for one in (('mmseg', 2), ('ours', 1)))])
def test_the_figures_are_those_without_the_image(name, batch_size, tmp_path):
    make, metric = METRICS[name]
    root = tmp_path / 'shapes'
    write_shapes(root, train=2, val=4, size=64)
    images = sorted(root.glob('images/validation/*'))
    whole = shutil.copytree(root, tmp_path / 'whole')
    shutil.copytree(root, tmp_path / 'without')
    images[1].write_bytes(images[1].read_bytes()[:200])
    for folder in ('images', 'annotations'):
        next((tmp_path / 'without' / folder / 'validation').glob(f'{images[1].stem}.*')).unlink()
    figures, seen = evaluate(make, metric, root, tmp_path / 'broken', batch_size)
    assert seen == [str(path) for path in images if path != images[1]]
    assert figures == evaluate(make, metric, tmp_path / 'without', tmp_path / 'b')[0]
    assert len(evaluate(make, metric, whole, tmp_path / 'c')[1]) == 4
    assert images[1].name in (tmp_path / 'broken/bad_images_test.jsonl').read_text()


@pytest.mark.parametrize('scope, batch_size', [
    ('mmdet', 1), ('convnext_dense', 2),
    *(pytest.param(*one, marks=pytest.mark.slow)
      for one in (('mmdet', 2), ('convnext_dense', 1)))])
def test_the_objects_of_the_image_count_as_missed_by_a_detector(scope, batch_size, tmp_path):
    root = tmp_path / 'shapes'
    write_shapes(root, train=2, val=4, size=64)
    images = sorted(root.glob('images/validation/*'))
    ann_file = str(root / 'annotations/instances_validation.json')
    metric = dict(type=f'{scope}.CocoMetric', ann_file=ann_file, metric='bbox')
    model = dict(type='AllFound', ann_file=ann_file)
    figures, seen = evaluate(detector_config, metric, root, tmp_path / 'whole', batch_size, model)
    assert len(seen) == 4 and figures['coco/bbox_mAP'] == 1
    images[1].write_bytes(images[1].read_bytes()[:200])
    figures, seen = evaluate(detector_config, metric, root, tmp_path / 'work', batch_size, model)
    assert seen == [str(path) for path in images if path != images[1]]
    assert figures == pytest.approx(without(ann_file, images[1].name), abs=5e-4)  # 3 digits
    assert figures['coco/bbox_mAP'] < 1
    assert images[1].name in (tmp_path / 'work/bad_images_test.jsonl').read_text()


def without(ann_file, name):
    """The figures of pycocotools where all boxes are found but those of an image."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    truth = COCO(ann_file)
    missed = next(number for number, image in truth.imgs.items() if image['file_name'] == name)
    evaluation = COCOeval(truth, truth.loadRes([
        dict(image_id=one['image_id'], category_id=one['category_id'], bbox=one['bbox'], score=1.)
        for one in truth.anns.values() if one['image_id'] != missed]), 'bbox')
    evaluation.params.maxDets = [100, 300, 1000]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    names = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
    return {f'coco/bbox_{name}': value for name, value in zip(names, evaluation.stats)}
