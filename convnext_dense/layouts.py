"""Where a data set's folder keeps its files: the layouts that people have, recognised."""
import os
from collections.abc import Iterator
from itertools import product

#: what the parts of a data set are called
PARTS = dict(train=('train', 'training', 'train2017'),
             val=('val', 'validation', 'val2017', 'valid'), test=('test', 'testing', 'test2017'))
#: annotation file and folder of images of a part
COCO = (('annotations/{}.json', '{}/'), ('annotations/instances_{}.json', '{}/'),
        ('annotations/{}.json', 'images/{}/'), ('annotations/instances_{}.json', 'images/{}/'),
        ('{}.json', '{}/'), ('{}/_annotations.coco.json', '{}/'))
#: folders of images and of label maps of a part
LABEL_MAPS = (('images/{}', 'annotations/{}'), ('img_dir/{}', 'ann_dir/{}'),
              ('images/{}', 'masks/{}'), ('images/{}', 'labels/{}'),
              *((f'{{}}/{images}', f'{{}}/{maps}') for images, maps in product(
                  ('images', 'image'), ('annotations', 'masks', 'labels'))))


def fit_layout(dataset: dict, root: str) -> str | None:
    """Take the only layout that fits a folder, where the one of the config does not.

    Args:
        dataset: config of a data set in COCO's or ADE20K's format; changed in place.
        root: its folder.

    Returns:
        What was found, or None where nothing was changed.
    """
    prefix = dataset.get('data_prefix') or {}
    ann_file = dataset.get('ann_file') or ''
    if 'seg_map_path' in prefix and not ann_file:
        given = prefix.get('img_path') or '', prefix['seg_map_path']
        layouts = LABEL_MAPS
    elif ann_file.endswith('.json') and set(prefix) == {'img'}:
        given, layouts = (ann_file, prefix['img']), COCO
    else:
        return None
    if any(os.path.exists(os.path.join(root, path)) for path in given if path):
        return None
    found = {pair for pair in _candidates(given, layouts)
             if all(os.path.exists(os.path.join(root, path)) for path in pair)}
    if len(found) != 1:
        return None
    (first, second), = found
    if layouts is COCO:
        dataset['ann_file'], dataset['data_prefix'] = first, dict(img=second)
    else:
        dataset['data_prefix'] = dict(img_path=first, seg_map_path=second)
    return f'{first} and {second}'


def _candidates(given: tuple[str, str], layouts: tuple) -> Iterator[tuple[str, str]]:
    """The pairs of paths of the part that the given paths name."""
    words = {word for path in given for word in path.replace('.', '/').replace('_', '/').split('/')}
    for names in PARTS.values():
        if words & set(names):
            for name, (first, second) in product(names, layouts):
                yield first.format(name), second.format(name)
            return
