"""pycocotools' own 12 figures, with nothing of ours between."""
import copy
import io
from contextlib import redirect_stdout

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def reference_stats(dataset, detections, kind, max_dets, use_categories=True):
    """The 12 numbers of cocoapi's summary of ``detections`` (Detections)."""
    with redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(dataset)
        truth.createIndex()
        records = [dict(record) for record in detections.records(with_boxes=kind == 'bbox')]
        if records:
            results = truth.loadRes(records)
        else:
            results = COCO()
            results.dataset = dict(dataset, annotations=[])
            results.createIndex()
        evaluator = COCOeval(truth, results, kind)
        evaluator.params.maxDets = list(max_dets)
        evaluator.params.useCats = int(use_categories)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats
