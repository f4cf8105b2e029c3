"""Tiny detectors with random weights, and their results beside those of the exported network."""
import copy

import numpy as np
import torch
from mmengine.registry import MODELS, DefaultScope

from convnext_dense.config import load_config, set_device
from convnext_dense.export import ExportOptions
from convnext_dense.export.checking import differences
from convnext_dense.export.exporting import build_network
from convnext_dense.prediction.results import Instances

CHANNELS = (8, 16, 24, 32)


def build(name, change):
    """A model of a config whose widths ``change`` makes small, with scores that differ clearly."""
    cfg = load_config(name)
    set_device(cfg, 'cpu')
    change(cfg.model)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model).eval().requires_grad_(False)
    for key, value in model.state_dict().items():
        if key.endswith('running_var'):
            value.uniform_(.5, 2)
        elif 'rtm_cls' in key or key.endswith(('rpn_cls.weight', 'fc_cls.weight')):
            value.normal_(0, .3)
        elif key == 'level_embed':  # of memory as it was, until mmdet draws its first weights
            value.normal_()
        elif key.endswith(('fc_reg.weight', 'rpn_reg.weight')):
            value.normal_(0, .05)
        elif 'cls_branches' in key and key.endswith('weight'):
            value.normal_(0, .1)
        elif key.endswith(('sampling_offsets.weight', 'attention_weights.weight')) or (
                'reg_branches' in key and key.endswith('4.weight')):
            value.normal_(0, .05)
    return model


def backbone(out_indices):
    return dict(type='convnext_dense.ConvNeXt', arch=dict(depths=(1, 1, 1, 1), channels=CHANNELS),
                out_indices=out_indices, layer_scale_init_value=1.)


def rtmdet():
    def change(model):
        model.backbone = backbone([1, 2, 3])
        model.neck.update(in_channels=list(CHANNELS[1:]), out_channels=16)
        model.bbox_head.update(in_channels=16, feat_channels=16, num_classes=5, stacked_convs=1)
    return build('rtmdet/rtmdet-tiny_convnextv2-atto_4xb32-100e_coco.py', change)


def dino():
    def change(model):
        model.backbone = backbone([1, 2, 3])
        model.num_queries = 60
        model.encoder.num_layers, model.decoder.num_layers = 1, 2
        model.neck.update(in_channels=list(CHANNELS[1:]))
        model.bbox_head.num_classes = 5
        model.test_cfg.max_per_img = 40
    return build('examples/dino_convnextv2-atto_pennfudan.py', change)


def mask_rcnn(masks=True):
    """Mask R-CNN, whose boxes differ by class; or its form without masks."""
    def change(model):
        model.backbone = backbone([0, 1, 2, 3])
        model.neck.update(in_channels=list(CHANNELS), out_channels=16)
        model.rpn_head.update(in_channels=16, feat_channels=16)
        head = model.roi_head
        head.bbox_roi_extractor.out_channels = 16
        head.bbox_head.update(in_channels=16, fc_out_channels=32, num_classes=5)
        if masks:
            head.mask_roi_extractor.out_channels = 16
            head.mask_head.update(num_convs=1, in_channels=16, conv_out_channels=16,
                                  num_classes=5)
        else:
            head.pop('mask_roi_extractor'), head.pop('mask_head')
            model.type = 'FasterRCNN'
    return build('mask_rcnn/mask-rcnn_convnext-t_fpn_amp-ms-crop-3x_coco.py', change)


def network_of(model):
    return build_network(model, ExportOptions())


def compare_with_mmdet(model, run, sizes, batches=(1, 2)):
    """The largest differences between mmdet's objects and those of ``run(images)``.

    Args:
        model: of mmdet.
        run: takes images (N, 3, H, W) and gives what :class:`TwoStageNetwork` gives.
        sizes: (H, W) of the images.
    """
    from mmdet.structures import DetDataSample
    generator, found = torch.Generator().manual_seed(0), []
    for size in sizes:
        for batch in batches:
            images = torch.randn(batch, 3, *size, generator=generator)
            samples = [DetDataSample(metainfo=dict(
                img_shape=size, ori_shape=size, scale_factor=(1., 1.), batch_input_shape=size))
                for _ in range(batch)]
            divisor = model.data_preprocessor.pad_size_divisor
            padded = torch.nn.functional.pad(
                images, (0, -size[1] % divisor, 0, -size[0] % divisor))
            with torch.no_grad():
                expected = copy.deepcopy(model).predict(padded, samples)
            boxes, scores, labels, image, *_ = (np.asarray(value) for value in run(images))
            for index, sample in enumerate(expected):
                theirs = sample.pred_instances
                mine = image == index
                found.append(differences(
                    *(Instances(np.zeros((*size, 3), np.uint8), None, (), None, *map(
                        np.asarray, values)) for values in (
                        (theirs.bboxes, theirs.scores, theirs.labels),
                        (boxes[mine], scores[mine], labels[mine])))))
    return {key: max(one[key] for one in found) for key in found[0]} | dict(
        objects=min(one['objects'] for one in found))
