"""What a test of the runner gives, as the reference for predictions."""
import numpy as np
from mmengine.registry import DefaultScope


def samples_of_test(work_dir, checkpoint):
    """Data samples that testing the config of a work directory gives, by the image's path."""
    from mmengine.config import Config
    from mmengine.hooks import Hook

    from convnext_dense.config import set_device
    from convnext_dense.runtime import Runner
    scopes = dict(DefaultScope._instance_dict)
    config = Config.fromfile(next(work_dir.glob('*.py')))
    set_device(config, 'cpu')
    config.work_dir = str(work_dir / 'test')
    config.load_from = str(checkpoint)
    found = {}

    class Keep(Hook):
        def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            found.update((sample.img_path, sample) for sample in outputs)

    runner = Runner.from_cfg(config)
    runner.register_hook(Keep())
    runner.test()
    DefaultScope._instance_dict = scopes
    return found


def assert_same_instances(result, sample, tolerance=1e-6):
    """Every object, box, score and mask of a result is the sample's."""
    found = sample.pred_instances.numpy()
    assert len(result) == len(found.scores)
    order = np.argsort(-found.scores, kind='stable')
    mine = np.argsort(-result.scores, kind='stable')
    np.testing.assert_allclose(result.scores[mine], found.scores[order], atol=tolerance, rtol=0)
    np.testing.assert_allclose(result.boxes[mine], found.bboxes[order], atol=tolerance,
                               rtol=tolerance)
    np.testing.assert_array_equal(result.labels[mine], found.labels[order])
    np.testing.assert_array_equal(result.masks[mine], found.masks[order])
