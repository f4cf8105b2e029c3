"""Methods and attributes that OpenMMLab's classes call their own and our subclasses rely on."""
import inspect
from importlib import import_module

import pytest

#: class -> (the file here that relies on it, methods that it overrides or calls)
METHODS = {
    'mmengine.runner.Runner': ('runtime/building.py', ['_maybe_compile', '_init_model_weights']),
    'mmengine.runner.EpochBasedTrainLoop': ('runtime/loops.py', ['_decide_current_val_interval']),
    'mmengine.runner.IterBasedTrainLoop': ('runtime/loops.py', ['_decide_current_val_interval']),
    'mmdet.models.dense_heads.RPNHead': (
        'detection/rpn_head.py', ['_predict_by_feat_single', '_bbox_post_process']),
    'mmdet.models.roi_heads.mask_heads.FCNMaskHead': (
        'detection/mask_head.py', ['_predict_by_feat_single']),
    'mmdet.models.dense_heads.Mask2FormerHead': (
        'detection/mask2former_head.py', ['_forward_head', '_loss_by_feat_single']),
    'mmdet.models.roi_heads.bbox_heads.BBoxHead': (
        'export/detector.py', ['_predict_by_feat_single']),
    'mmengine.optim.DefaultOptimWrapperConstructor': (
        'optim/constructor.py and optim/backbone_factor.py', ['_validate_cfg']),
    'mmengine.hooks.CheckpointHook': (
        'runtime/checkpoint_hook.py', ['_save_checkpoint', '_save_checkpoint_with_step',
                                       '_init_rule']),
    'mmseg.models.decode_heads.UPerHead': (
        'segmentation/uper_head.py', ['_forward_feature', '_transform_inputs', 'psp_forward']),
}
#: class -> (file, attributes that its constructor sets)
ATTRIBUTES = {
    'mmengine.runner.Runner': ('runtime/runner.py', [
        '_train_loop', '_val_loop', '_test_loop', '_load_from', '_has_loaded', '_resume',
        '_launcher', '_randomness_cfg']),
    'mmengine.runner.EpochBasedTrainLoop': ('runtime/loops.py', [
        '_epoch', '_iter', '_max_epochs']),
    'mmengine.runner.IterBasedTrainLoop': ('runtime/loops.py', ['_iter', '_max_iters']),
}
#: method -> its parameters, where we pass or take them by position
PARAMETERS = {
    ('mmdet.models.dense_heads.RPNHead', '_predict_by_feat_single'): [
        'self', 'cls_score_list', 'bbox_pred_list', 'score_factor_list', 'mlvl_priors', 'img_meta',
        'cfg', 'rescale', 'with_nms'],
    ('mmdet.models.dense_heads.RPNHead', '_bbox_post_process'): [
        'self', 'results', 'cfg', 'rescale', 'with_nms', 'img_meta'],
    ('mmseg.models.decode_heads.UPerHead', '_forward_feature'): ['self', 'inputs'],
    ('mmdet.models.dense_heads.Mask2FormerHead', '_forward_head'): [
        'self', 'decoder_out', 'mask_feature', 'attn_mask_target_size'],
    ('mmdet.models.dense_heads.Mask2FormerHead', '_loss_by_feat_single'): [
        'self', 'cls_scores', 'mask_preds', 'batch_gt_instances', 'batch_img_metas'],
    ('mmengine.hooks.CheckpointHook', '_save_checkpoint_with_step'): [
        'self', 'runner', 'step', 'meta'],
}


def class_of(name):
    module, _, attribute = name.rpartition('.')
    return getattr(import_module(module), attribute)


@pytest.mark.parametrize('name', METHODS)
def test_methods_are_there(name):
    file, methods = METHODS[name]
    gone = [method for method in methods if not hasattr(class_of(name), method)]
    assert not gone, f'{name} has no {gone} any more: convnext_dense/{file} needs another way'


@pytest.mark.parametrize('name', ATTRIBUTES)
def test_attributes_are_set_by_the_constructor(name):
    file, attributes = ATTRIBUTES[name]
    source = ''.join(inspect.getsource(base.__init__) for base in class_of(name).__mro__
                     if '__init__' in vars(base) and base.__module__.startswith('mmengine'))
    gone = [attribute for attribute in attributes if f'self.{attribute} ' not in source
            and f'self.{attribute}:' not in source]
    assert not gone, f'{name} sets no {gone} any more: convnext_dense/{file} needs another way'


@pytest.mark.parametrize('name, method', PARAMETERS)
def test_parameters_stand_in_their_order(name, method):
    assert list(inspect.signature(getattr(class_of(name), method)).parameters) == PARAMETERS[
        name, method], f'{name}.{method} takes other arguments now; adapt the override of it'


def test_mmengine_keeps_its_loaders_by_scheme():
    from mmengine.runner import CheckpointLoader
    assert {'', 'http://', 'https://'} <= set(CheckpointLoader._schemes), (
        'CheckpointLoader._schemes is not what checkpoints/reading.py replaces any more')


def test_a_config_keeps_its_nodes_in_one_dict():
    from mmengine.config import Config, ConfigDict
    assert isinstance(Config(dict(a=dict(b=1)))._cfg_dict, ConfigDict), (
        'Config._cfg_dict, which config.py changes in place, is another thing now')
