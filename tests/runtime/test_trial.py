"""check-data ends with a batch of each data set through the model, which finds what stops it."""
import copy
import uuid

import pytest
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from test_fuzzed_settings import config_of
from tiny import detector_config, segmenter_config

from convnext_dense.checks.audit_config import summary
from convnext_dense.commands.check_data import full_check
from convnext_dense.commands.options import build_runner
from convnext_dense.errors import InputError
from convnext_dense.runtime.trial import try_batches


@METRICS.register_module()
class CountlessMetric(BaseMetric):
    """A metric of a user's own."""

    def __init__(self, **options):
        super().__init__()

    def process(self, data_batch, data_samples):
        self.results += [1] * len(data_samples)

    def compute_metrics(self, results):
        return dict(count=len(results))


ROI_HEAD = 'model.roi_head.bbox_head.0'
FAULTS = {
    'a head whose features have another size': (
        detector_config, {f'{ROI_HEAD}.roi_feat_size': 5},
        'train_dataloader: its first 2 images: RuntimeError: mat1 and mat2 shapes'),
    'a clipping that torch does not take': (
        segmenter_config, {'optim_wrapper.clip_grad': dict(max_norm='much')},
        'train_dataloader: '),
    'a figure that the metric does not have': (
        segmenter_config, {'val_evaluator.iou_metrics': ['mIuO']}, 'mIuO'),
    'a schedule that waits for a figure that no metric gives': (
        segmenter_config, {'param_scheduler': [dict(type='ReduceOnPlateauLR')],
                           'val_evaluator.type': 'CountlessMetric'},
        "ReduceOnPlateauLR waits for the figure 'loss', but val_evaluator gives 'count'"),
    'a schedule that fails behind the first step': (
        segmenter_config, {'param_scheduler': [
            dict(type='LinearLR', start_factor=0., by_epoch=False, end=2)]},
        'param_scheduler: ZeroDivisionError'),
    'a hook that cannot start': (
        segmenter_config, {'custom_hooks': [dict(type='EMAHook', momentum=7.)]},
        'the hook EMAHook failed in before_run: AssertionError'),
    'a test that differs from the validation': (
        segmenter_config, {'test_dataloader.dataset.pipeline': [
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]}, 'test_dataloader: '),
}


def check(config):
    reports, findings, notes = full_check(config, progress=False)
    return '\n'.join(summary(reports, findings, notes)[0]), summary(reports, findings, notes)[1]


@pytest.mark.parametrize('make', [detector_config, segmenter_config])
def test_what_trains_passes_and_leaves_no_trace(make, tiny_shapes, tmp_path):
    config = config_of(make, tiny_shapes, tmp_path / 'work')
    config.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='/no/such/file')
    config.update(load_from='/no/such/file', resume=True)
    before = copy.deepcopy(config._cfg_dict.to_dict())
    try_batches(config, build_runner)
    assert config._cfg_dict.to_dict() == before and not (tmp_path / 'work').exists()


def test_a_test_that_only_writes_files_passes_and_writes_none(tiny_shapes, tmp_path):
    config = config_of(segmenter_config, tiny_shapes, tmp_path / 'work')
    config.default_hooks.checkpoint.save_best = 'mIoU'  # which is for the validation to give
    config.test_evaluator = dict(type='convnext_dense.IoUMetric', format_only=True,
                                 output_dir=str(tmp_path / 'out'))
    try_batches(config, build_runner)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', FAULTS)
def test_what_stops_a_run_at_its_first_batch_is_found(name, tiny_shapes, tmp_path):
    make, changes, words = FAULTS[name]
    config = config_of(make, tiny_shapes, tmp_path)
    config.merge_from_dict(changes)
    text, fine = check(config)
    assert not fine and words in text
    config.experiment_name = uuid.uuid4().hex
    with pytest.raises(InputError):
        runner = build_runner(config)
        runner.test() if name.startswith('a test') else runner.train()


def test_after_an_error_of_the_data_the_model_is_not_tried(tiny_shapes, tmp_path):
    config = config_of(segmenter_config, tiny_shapes, tmp_path)
    config.train_dataloader.dataset.data_prefix.img_path = 'elsewhere'
    text, fine = check(config)
    assert not fine and 'the model was not tried: correct the errors first' in text


@METRICS.register_module()
class FailingMetric(CountlessMetric):
    def compute_metrics(self, results):
        return dict(count=len(results) / 0)


def test_a_metric_that_fails_where_figures_are_computed_is_one_line(tiny_shapes, tmp_path):
    config = config_of(segmenter_config, tiny_shapes, tmp_path)
    config.val_evaluator = config.test_evaluator = dict(type='FailingMetric')
    assert 'the figures of FailingMetric: ZeroDivisionError' in check(config)[0]
    with pytest.raises(InputError, match='^the figures of FailingMetric: ZeroDivisionError: .*; '
                       'look at the settings of the evaluator'):
        build_runner(config).train()
