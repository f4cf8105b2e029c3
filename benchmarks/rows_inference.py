"""Rows: inference of whole detectors and segmenters, RoIAlign, and what follows the network."""
import copy
from functools import cache, partial

import torch
import torch.nn.functional as F

from benchmarks.measuring import Differs
from benchmarks.packages import import_mmpretrain
from benchmarks.rows import Side, row

CASCADE = 'cascade_mask_rcnn/cascade-mask-rcnn_convnext-t_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
UPERNET = 'upernet/upernet_convnext-t_8xb2-amp-160k_ade20k-512x512.py'
TIE = 1e-5


# --- models -------------------------------------------------------------------------------------

def config(name):
    """A recipe, for a CPU and without its weights."""
    from mmengine.config import Config

    from convnext_dense.config import set_device
    cfg = Config.fromfile(f'configs/{name}')
    set_device(cfg, 'cpu')
    cfg.model.backbone.init_cfg = None
    return cfg


def stock(cfg):
    """The same recipe with the parts of mmdet, mmseg and mmpretrain."""
    from convnext_dense.config_nodes import nested
    import_mmpretrain()
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.update(
        type='mmpretrain.ConvNeXt', gap_before_final_norm=False,
        out_indices=cfg.model.backbone.get('out_indices', (0, 1, 2, 3)))
    for node in nested(cfg.model):
        for key, value in node.items():
            if isinstance(value, str):
                node[key] = value.replace('convnext_dense.', '')
        if isinstance(node.get('nms'), dict):
            node.nms.pop('split_thr', None)  # set_device chose it, and the fused optimizer
    cfg.optim_wrapper.optimizer.pop('fused', None)
    return cfg


def build(cfg):
    from mmengine.registry import MODELS, init_default_scope
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model).eval()


@cache
def state(name):
    """Random weights with which scores and labels differ clearly."""
    torch.manual_seed(0)
    model = build(config(name))
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith('running_var'):
                value.uniform_(.5, 2)
            elif key.endswith('running_mean'):
                value.normal_(0, .1)
            elif key.endswith('conv_seg.weight'):
                value.normal_(0, .3)
            elif key.endswith('rpn_cls.weight'):
                # scores that float32 rounds to 1 are ties, whose order is anyone's: logits stay
                # below 8, where a score tells logits apart by 2e-4
                value.normal_(0, .05)
            elif key.endswith('fc_cls.weight'):
                value.normal_(0, .12)
    return model.state_dict()


def ours(name, **settings):
    """Prepared with these settings of the acceleration."""
    from convnext_dense.acceleration import Acceleration, prepare
    model = build(config(name))
    model.load_state_dict(state(name))
    prepare(model, 'infer', settings=Acceleration(**settings))
    return model


def peer(name):
    from convnext_dense.checkpoints.formats import FORMATS, from_official
    model = build(stock(config(name)))
    backbone = {key.removeprefix('backbone.'): value for key, value in state(name).items()
                if key.startswith('backbone.')}
    renamed = {f'backbone.{key}': value
               for key, value in from_official(backbone, FORMATS['mmpretrain']).items()}
    others = {key: value for key, value in state(name).items() if not key.startswith('backbone.')}
    own = model.state_dict()
    model.load_state_dict({key: value.view_as(own[key])
                           for key, value in {**others, **renamed}.items()})
    return model


def batch(name, size, ori_size):
    """One smooth image with a little noise, as the data loader gives it."""
    from convnext_dense.analysis.random_batch import random_batch
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, size[0] // 32, size[1] // 32, generator=generator)
    image = F.interpolate(coarse, size=size, mode='bicubic')[0] * 255
    image += torch.randn(3, *size, generator=generator) * 5
    data = random_batch(config(name), size, 1)
    data['inputs'] = [image.clamp(0, 255).byte()]
    data['data_samples'][0].set_metainfo(dict(ori_shape=ori_size))
    return data


def side(builder, name, size, ori_size=None):
    model, data = builder(name), batch(name, size, ori_size or size)

    def step():
        with torch.inference_mode():
            return model.test_step(copy.deepcopy(data))[0]
    return Side(step, partial(_with_probabilities, model, step) if name == CASCADE else None)


def _sides(name, size, ori_size=None):
    return {'ours': partial(side, ours, name, size, ori_size),
            'stock mmdet' if name == CASCADE else 'stock mmseg':
                partial(side, peer, name, size, ori_size)}


# --- comparing ----------------------------------------------------------------------------------

def _with_probabilities(model, step):
    """A detector's result and the mask probabilities that it was made from."""
    head, seen = model.roi_head.mask_head[-1], []
    predict = head.predict_by_feat

    def watch(mask_preds, results_list, **kwargs):
        masks, labels = mask_preds[0], results_list[0].labels
        seen.append(masks[range(len(labels)), labels if masks.shape[1] > 1 else 0])
        return predict(mask_preds=mask_preds, results_list=results_list, **kwargs)

    object.__setattr__(head, 'predict_by_feat', watch)
    try:
        return step().pred_instances, seen[0]
    finally:
        object.__delattr__(head, 'predict_by_feat')


def compare_detections(ours, theirs):
    """Boxes and scores within 1e-4 of the largest, masks equal but for ties."""
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
    (ours, _), (theirs, probabilities) = ours, theirs
    if len(ours) != len(theirs) or not len(ours) or not torch.equal(ours.labels, theirs.labels):
        raise Differs(f'{len(ours)} and {len(theirs)} detections, or other labels')
    worst = {}
    for name in ('bboxes', 'scores'):
        difference = (ours[name] - theirs[name]).abs().max() / theirs[name].abs().max()
        worst[name] = float(difference)
        if not difference <= 1e-4:
            raise Differs(f'{name} differ by {difference:.2g} of the largest value')
    different = ours.masks != theirs.masks
    distances = [torch.zeros(0)]
    for index in different.flatten(1).any(1).nonzero().squeeze(1):
        values = _do_paste_mask(probabilities[index][None, None], theirs.bboxes[index][None],
                                *theirs.masks.shape[1:], skip_empty=False)[0][0]
        distances.append((values - .5).abs()[different[index]])
    distances = torch.cat(distances)
    if (distances > 1e-3).any():
        raise Differs(f'a mask, {distances.max():.2g} from the threshold')
    farthest = max(distances.tolist(), default=0.)
    return (f'{len(theirs)} detections, boxes within {worst["bboxes"]:.1e} and scores within '
            f'{worst["scores"]:.1e} of the largest; {len(distances)} of '
            f'{int(theirs.masks.sum())} mask pixels differ, the farthest {farthest:.1e} from the '
            f'threshold, {int((distances > TIE).sum())} farther than {TIE:g}')


def compare_labels(ours, theirs):
    """Equal label maps but where the two largest logits are within 1e-5 of the largest."""
    labels, logits = theirs.pred_sem_seg.data[0], theirs.seg_logits.data
    different = ours.pred_sem_seg.data[0] != labels
    first, second = logits.topk(2, dim=0).values
    if (first - second > TIE * logits.abs().max())[different].any():
        raise Differs('a label, where it is not within 1e-5 of a tie')
    return (f'{int(different.sum())} of {labels.numel()} pixels differ, all within {TIE:g} of a '
            f'tie; {len(labels.unique())} classes')


# --- rows ---------------------------------------------------------------------------------------

@row('cascade-inference-480x640', 'Cascade Mask R-CNN ConvNeXt-T, inference of 480x640',
     peer='stock mmdet', bar=2., compare=compare_detections)
def cascade_small():
    return _sides(CASCADE, (480, 640))


@row('cascade-inference-800x1216', 'Cascade Mask R-CNN ConvNeXt-T, inference of 800x1216',
     peer='stock mmdet', bar=2., compare=compare_detections)
def cascade_large():
    return _sides(CASCADE, (800, 1216))


@row('upernet-inference-whole', 'UperNet ConvNeXt-T, inference of 512x512',
     peer='stock mmseg', bar=1.2, compare=compare_labels)
def upernet_whole():
    return _sides(UPERNET, (512, 512))


@row('upernet-inference-slide', 'UperNet ConvNeXt-T, inference of 512x683 in windows',
     peer='stock mmseg', bar=1.4, compare=compare_labels)
def upernet_slide():
    return _sides(UPERNET, (512, 683))


def _roi_features(scope, channels_last):
    from convnext_dense.registry import MODELS
    import_module_of(scope)
    extractor = MODELS.build(dict(
        type=f'{scope}.SingleRoIExtractor', out_channels=256, featmap_strides=[4, 8, 16, 32],
        roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)))
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, 256, 800 // stride, 1216 // stride, generator=generator)
            for stride in extractor.featmap_strides]
    if channels_last:
        maps = [x.to(memory_format=torch.channels_last) for x in maps]
    maps = [x.requires_grad_() for x in maps]
    centres = torch.rand(512, 2, generator=generator) * torch.tensor([1216., 800.])
    halves = torch.exp(torch.rand(512, 2, generator=generator) * 3.9) * 4
    boxes = torch.cat([centres - halves, centres + halves], dim=1)
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, 1216)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, 800)
    rois = torch.cat([torch.zeros(512, 1), boxes], dim=1)
    grad = torch.randn(512, 256, 7, 7, generator=generator)
    if channels_last:
        grad = grad.to(memory_format=torch.channels_last)

    def step():
        for x in maps:
            x.grad = None
        features = extractor(maps, rois)
        features.backward(grad)
        return features

    def outputs():
        features = step().detach()
        return dict({f'gradient {level}': x.grad.clone() for level, x in enumerate(maps)},
                    features=features)
    return Side(step, outputs)


def import_module_of(scope):
    if scope == 'mmdet':
        import mmdet.models  # noqa: F401


@row('roi-align', 'RoIAlign, forward and backward, FPN of 800x1216, 512 RoIs', peer='mmcv', bar=6.)
def roi_align():
    return {'ours': partial(_roi_features, 'convnext_dense', True),
            'mmcv': partial(_roi_features, 'mmdet', False)}


def _masks_to_rle(scope):
    """100 instances of 480x640, from mask probabilities to run-length encodings."""
    import mmdet.models  # noqa: F401
    from mmengine.config import ConfigDict
    from mmengine.structures import InstanceData

    from convnext_dense.registry import MODELS
    head = MODELS.build(dict(type=f'{scope}.FCNMaskHead', num_classes=80))
    generator = torch.Generator().manual_seed(0)
    logits = F.interpolate(torch.randn(100, 80, 7, 7, generator=generator) * 4, size=(28, 28),
                           mode='bilinear')
    centres = torch.rand(100, 2, generator=generator) * torch.tensor([640., 480.])
    halves = torch.exp(torch.rand(100, 2, generator=generator) * 3.) * 8
    limits = torch.tensor([640., 480., 640., 480.])
    boxes = torch.cat([centres - halves, centres + halves], dim=1).clamp(min=0).minimum(limits)
    labels = torch.randint(0, 80, (100, ), generator=generator)
    meta = dict(ori_shape=(480, 640), scale_factor=(1., 1.))

    def step():
        results = head.predict_by_feat(
            [logits], [InstanceData(bboxes=boxes.clone(), labels=labels)], [meta],
            ConfigDict(mask_thr_binary=.5), rescale=True)
        masks = results[0].masks
        if scope == 'mmdet':
            from mmdet.structures.mask import encode_mask_results
            return encode_mask_results(masks.numpy())
        from convnext_dense.evaluation.rle import encode_masks
        return encode_masks(masks)
    return Side(torch.inference_mode()(step))


def compare_rles(ours, theirs):
    if ours != theirs:
        raise Differs('the encodings')
    return f'{len(theirs)} equal encodings'


@row('masks-to-rle', '100 masks of 480x640: pasted and run-length encoded', peer='mmdet',
     compare=compare_rles)
def masks_to_rle():
    return {'ours': partial(_masks_to_rle, 'convnext_dense'),
            'mmdet': partial(_masks_to_rle, 'mmdet')}
