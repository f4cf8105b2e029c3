"""The names of the figures that a metric gives, told from its settings before it is built."""
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from convnext_dense.config_nodes import type_name
from convnext_dense.evaluation.coco_figures import FIGURES
from convnext_dense.evaluation.iou_figures import CLASS_FIGURES

COCO_LIMITS = (100, 300, 1000)


def figure_names(metric: Mapping[str, Any]) -> list[str] | None:
    """The log keys of a metric of a config, its prefix included.

    Args:
        metric: the dict of the config, of one of our metrics or of mmdet's or mmseg's of the same
            names.

    Returns:
        list[str]: patterns for :func:`fnmatch.fnmatchcase`, as figures of single classes are
        named after them; empty where the metric only writes files. None for any other metric.
    """
    known = NAMES.get(type_name(metric) or '')
    if known is None:
        return None
    default, names = known
    if metric.get('format_only'):
        return []
    prefix = metric.get('prefix') or default
    return [f'{prefix}/{name}' if prefix else name for name in dict.fromkeys(names(metric))]


def _coco(metric):
    limits = metric.get('proposal_nums', COCO_LIMITS)
    items = metric.get('metric_items')
    for kind in _listed(metric.get('metric', 'bbox')):
        if kind == 'proposal_fast':
            yield from (f'AR@{limit}' for limit in limits)
        elif kind == 'proposal':
            yield from items or [name for name in FIGURES if name.startswith('AR')]
        else:
            yield from (f'{kind}_{item}' for item in items or list(FIGURES)[:6])
            if metric.get('classwise'):
                yield '*_precision'


def _iou(metric):
    yield 'aAcc'
    for kind in _listed(metric.get('iou_metrics', 'mIoU')):
        yield from (f'm{name}' for name in CLASS_FIGURES.get(kind, ()))
    if metric.get('boundary'):
        yield 'mBoundaryIoU'


def _panoptic(metric):
    yield from (f'{name}{part}' for part in ('', '_th', '_st') for name in ('PQ', 'SQ', 'RQ'))
    if metric.get('classwise') and type_name(metric) == 'PanopticMetric':
        yield '*_PQ'


def _voc(metric):
    thresholds = _listed(metric.get('iou_thrs', .5))
    limits = metric.get('proposal_nums', COCO_LIMITS)
    if _listed(metric.get('metric', 'mAP'))[:1] == ['recall']:
        yield from (f'recall@{limit}@{one}' for limit in limits for one in thresholds)
        if len(thresholds) > 1:
            yield from (f'AR@{limit}' for limit in limits)
    else:
        yield 'mAP'
        yield from (f'AP{int(one * 100):02d}' for one in thresholds)


def _listed(value):
    return [value] if isinstance(value, (str, float)) else list(value)


#: type of a metric: its default prefix, and the names that its settings lead to
NAMES: dict[str, tuple[str | None, Callable[[Mapping], Iterator[str]]]] = dict(
    CocoMetric=('coco', _coco), IoUMetric=(None, _iou), VOCMetric=('pascal_voc', _voc),
    PanopticMetric=('coco_panoptic', _panoptic), CocoPanopticMetric=('coco_panoptic', _panoptic))
