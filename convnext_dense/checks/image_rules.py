"""Rules on images, masks and what an evaluation needs of them; see :mod:`..settings`."""
from collections.abc import Iterator

import imagesize

from convnext_dense.checks.arguments import class_of
from convnext_dense.checks.rule import Settings, as_list, samples_of
from convnext_dense.checks.sampling import evenly
from convnext_dense.config_nodes import nested, type_name

LOOKED_AT = 500  # images whose headers are read
#: data preprocessors that take means of grey and of colour images alone
OF_ONE_OR_THREE = ('ImgDataPreprocessor', 'DetDataPreprocessor', 'SegDataPreProcessor')
DETECTION_META = ('img_id', 'ori_shape', 'img_shape', 'scale_factor')


def masks(settings: Settings) -> Iterator[str]:
    roi_head = settings.model.get('roi_head') or {}
    has_masks = bool(roi_head.get('mask_head') or settings.model.get('mask_head'))
    for split in settings.of('coco', training=True):
        steps = [step for step in nested(split.cfg.get('pipeline'))
                 if type_name(step) == 'LoadAnnotations']
        if has_masks and steps and not any(step.get('with_mask') for step in steps):
            yield (f'{split.where}: the model has a mask head, but LoadAnnotations loads no masks; '
                   'set with_mask=True, or model.roi_head.mask_head=None')
        if roi_head and steps and not any(step.get('with_bbox', True) for step in steps):
            yield f'{split.where}: LoadAnnotations loads no boxes; set with_bbox=True'
    for key in ('val_evaluator', 'test_evaluator') if roi_head and not has_masks else ():
        for part in nested(settings.cfg.get(key)):
            if 'segm' in as_list(part.get('metric')):
                yield (f"{key}.metric has 'segm', but the model has no mask head; set "
                       "metric='bbox'")


def channels(settings: Settings) -> Iterator[str]:
    backbone = settings.model.get('backbone') or {}
    preprocessor = settings.model.get('data_preprocessor') or {}
    given = backbone.get('in_channels', 3)
    for key in ('mean', 'std'):
        values = preprocessor.get(key)
        if not isinstance(values, (list, tuple)) or len(values) in (1, given) and len(
                values) in (1, 3):
            continue
        if len(values) != given:
            yield (f'model.data_preprocessor.{key} has {len(values)} values, but the backbone '
                   f'takes in_channels={given}; give '
                   + ('one a channel' if given == 3 else 'one for all channels'))
        elif type_name(preprocessor) in OF_ONE_OR_THREE:
            yield (f'model.data_preprocessor.{key} has {len(values)} values, but '
                   f'{type_name(preprocessor)} takes 1 or 3: give one for all channels, or scale '
                   'them in a step of the pipeline and leave mean and std out')
    if (preprocessor.get('mean') is None) != (preprocessor.get('std') is None):
        yield 'model.data_preprocessor needs mean and std together, or neither'


def pixel_scale(settings: Settings) -> Iterator[str]:
    """Means and deviations of pixels from 0 to 1, where images are loaded as 0 to 255."""
    preprocessor = settings.model.get('data_preprocessor') or {}
    mean, std = (as_list(preprocessor.get(key)) for key in ('mean', 'std'))
    if not mean or not std or not all(isinstance(one, (int, float)) for one in (*mean, *std)):
        return
    loads = any(type_name(step) == 'LoadImageFromFile' for split in settings.splits
                for step in nested(split.cfg.get('pipeline')))
    if loads and max(map(abs, mean)) <= 1 and max(std) < 1:
        yield (f'model.data_preprocessor.mean={mean} and std={std} are of pixels from '
               '0 to 1, but LoadImageFromFile gives 0 to 255: multiply both by 255')


def small_images(settings: Settings) -> Iterator[str]:
    model = settings.model
    kind = class_of(model, 'model', settings.cfg)
    pads = (model.get('data_preprocessor') or {}).get('test_cfg') or {}
    if type_name(model) != 'EncoderDecoder' or kind.__module__.startswith('convnext_dense') or \
            type_name(model.get('backbone') or {}) != 'ConvNeXt' or pads:
        return
    for split in settings.of('labels', training=False):
        if any('Resize' in (type_name(step) or '') for step in split.cfg.get('pipeline') or ()):
            continue
        for info in evenly(samples_of(split), LOOKED_AT):
            try:
                size = imagesize.get(info['img_path'])
            except (OSError, ValueError):  # another check's business
                continue
            if 0 < min(size) < 32:
                yield (f'{split.where}: {info["img_path"]} has {size[0]}x{size[1]} pixels, less '
                       'than the stride 32 of the backbone; set model.type='
                       "'convnext_dense.EncoderDecoder', which pads, or data_preprocessor."
                       'test_cfg=dict(size_divisor=32)')
                return


def meta_keys(settings: Settings) -> Iterator[str]:
    for split in settings.of('coco', training=False):
        steps = [step for step in split.cfg.get('pipeline') or () if isinstance(step, dict)]
        kinds = [class_of(step, 'transform', settings.cfg) for step in steps]
        if not steps or any(kind is None or kind.__module__.split('.')[0] not in (
                'mmdet', 'mmcv', 'convnext_dense') for kind in kinds):
            continue
        names = [type_name(step) for step in steps]
        if 'TestTimeAug' in names or 'PackDetInputs' not in names:
            continue
        if not any('Resize' in (name or '') for name in names):
            yield (f'{split.where}: no step of its pipeline resizes, so scale_factor is not known, '
                   "by which boxes are brought to the image's size; add dict(type='Resize', "
                   'scale=..., keep_ratio=True)')
        given = steps[names.index('PackDetInputs')].get('meta_keys')
        missing = [key for key in DETECTION_META if given and key not in given]
        if missing:
            yield (f'{split.where}: PackDetInputs.meta_keys lacks {", ".join(missing)}, which the '
                   'evaluation needs')


def left_out(settings: Settings) -> Iterator[str]:
    """Images of an evaluator's annotation file that its data set does not show."""
    for split in settings.of('coco', training=False):
        key = f'{split.name.rstrip("0123456789")}_evaluator'
        if not any(part.get('ann_file') for part in nested(settings.cfg.get(key))):
            continue
        if split.cfg.get('filter_cfg') and not split.cfg.get('test_mode'):
            yield (f'{split.where}: filter_cfg without test_mode=True leaves out images that '
                   f'{key} counts as missed, or whose false detections it does not count; set '
                   'test_mode=True')
        if split.cfg.get('indices') is not None:
            yield (f'{split.where}: indices={split.cfg["indices"]!r} evaluates some of the images, '
                   f'and {key} counts the objects of all others as missed; give both an annotation '
                   'file of these images')


def queries(settings: Settings) -> Iterator[str]:
    model = settings.model
    head = model.get('bbox_head') or {}
    number, most = model.get('num_queries'), (model.get('test_cfg') or {}).get('max_per_img')
    if not isinstance(number, int) or not isinstance(most, int) or not isinstance(head, dict):
        return
    classes = head.get('num_classes', 80)
    sigmoid = (head.get('loss_cls') or dict(use_sigmoid=True)).get('use_sigmoid')
    candidates = number * classes if sigmoid else number
    if most > candidates:
        yield (f'model.test_cfg.max_per_img={most} is more than the {candidates} candidates of '
               f'num_queries={number}' + (f' and {classes} classes' if sigmoid else '')
               + f'; set it to {candidates} or less')
