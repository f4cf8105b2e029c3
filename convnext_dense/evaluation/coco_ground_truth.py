"""Ground truth for COCO's metric: categories of the labels, annotations of data samples."""
from collections.abc import Sequence

from convnext_dense.datasets.coco_requirements import category_labels
from convnext_dense.evaluation.backends import GroundTruth


def label_categories(truth: GroundTruth, classes: Sequence[str], by_id: bool = False) -> list[dict]:
    """The data set's category of each label: labels follow ``classes``, whatever the file's order.

    Args:
        truth (GroundTruth): the annotations.
        classes (Sequence[str]): names of the classes that the model knows.
        by_id (bool): labels follow the category ids instead, as in mmdet's Objects365.

    Raises:
        InputError: a class is no category of the data set; its labels would be another's.
    """
    labels = category_labels('CocoMetric', truth.content, classes)
    pairs = [(label, category) for label, category in zip(labels, truth.categories, strict=True)
             if label >= 0]
    pairs.sort(key=(lambda pair: pair[1]['id']) if by_id else (lambda pair: pair[0]))
    return [category for _, category in pairs]


def dataset_from_instances(results: list[dict], classes: Sequence[str]) -> dict[str, list]:
    """A COCO data set (dict) from the ``instances`` of data samples, as mmdet converts them.

    Boxes stand for areas, ignored instances are crowds.

    Args:
        results (list[dict]): ``img_id``, ``size`` (height, width) and ``instances``: dicts with
            ``bbox`` corners, ``bbox_label``, ``ignore_flag``, and ``mask`` (polygons or RLE).
        classes (Sequence[str]): names of the labels.
    """
    images: list[dict] = []
    annotations: list[dict] = []
    for result in results:
        height, width = result['size']
        images.append({'id': result['img_id'], 'width': width, 'height': height,
                       'file_name': ''})
        for instance in result['instances']:
            x1, y1, x2, y2 = (float(side) for side in instance['bbox'])
            annotation = {
                'id': len(annotations) + 1, 'image_id': result['img_id'],
                'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': (x2 - x1) * (y2 - y1),
                'iscrowd': int(instance.get('ignore_flag', 0)),
                'category_id': int(instance['bbox_label'])}
            if instance.get('mask'):
                annotation['segmentation'] = instance['mask']
            annotations.append(annotation)
    return {'images': images, 'annotations': annotations,
            'categories': [{'id': label, 'name': name} for label, name in enumerate(classes)]}
