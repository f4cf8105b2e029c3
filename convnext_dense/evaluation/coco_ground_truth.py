"""Ground truth for COCO's metric: categories of the labels, annotations of data samples."""
from convnext_dense.errors import InputError


def label_categories(truth, classes, by_id=False, name=None):
    """The data set's category of each label, numbered as mmdet's CocoDataset numbers them.

    CocoDataset keeps the annotation file's order of categories, not that of ``classes``.

    Args:
        truth: ground truth with ``categories``.
        classes (Sequence[str]): names of the classes that the model knows.
        by_id (bool): order by category id.
        name (str, optional): annotation file, for the error.

    Raises:
        InputError: a class is no category of the data set; its labels would be another's.
    """
    known = [category['name'] for category in truth.categories]
    missing = [cls for cls in classes if cls not in known]
    if missing:
        raise InputError(
            f'{name or "annotations"}: class {missing[0]!r} of the config '
            f'({len(missing)} of {len(classes)} missing) is none of its {len(known)} categories '
            f'({", ".join(map(repr, known[:4]))}...): set metainfo.classes to the categories')
    categories = [category for category in truth.categories if category['name'] in set(classes)]
    return sorted(categories, key=lambda category: category['id']) if by_id else categories


def dataset_from_instances(results, classes):
    """A COCO data set (dict) from the ``instances`` of data samples, as mmdet converts them.

    Boxes stand for areas, ignored instances are crowds.

    Args:
        results (list[dict]): ``img_id``, ``size`` (height, width) and ``instances``: dicts with
            ``bbox`` corners, ``bbox_label``, ``ignore_flag``, and ``mask`` (polygons or RLE).
        classes (Sequence[str]): names of the labels.
    """
    images, annotations = [], []
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
