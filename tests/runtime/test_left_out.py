"""A validation image that cannot be read is left out, with metrics of the libraries as well."""
import shutil
import uuid

import pytest
from test_fuzzed_settings import config_of
from tiny import segmenter_config

from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.runtime import Runner

METRICS = {
    'mmseg': (segmenter_config, dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])),
    'ours': (segmenter_config, dict(type='convnext_dense.IoUMetric', iou_metrics=['mIoU'],
                                    reduce_zero_label=True)),
}


def evaluate(make, metric, root, work_dir, batch_size=1):
    """Figures, and how many images they are of."""
    config = config_of(make, root, work_dir)
    config.update(experiment_name=uuid.uuid4().hex, test_evaluator=metric, randomness=dict(seed=3),
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


@pytest.mark.parametrize('name', METRICS)
@pytest.mark.parametrize('batch_size', [1, 2])
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
