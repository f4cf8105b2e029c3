"""Label maps: one image of class numbers beside each image (the ADE20K layout)."""
import os
import warnings

import numpy as np

from convnext_dense.errors import InputError

REDUCE_HINT = 'reduce_zero_label={} (in the data set and in LoadAnnotations)'


def read_label_map(path):
    """Read a label map as stored, palettes not expanded.

    Returns:
        ndarray: class numbers, shape (H, W), of the file's own integer type.

    Raises:
        InputError: it cannot be decoded, or it has colours instead of class numbers.
    """
    from PIL import Image
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter('ignore')
            labels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f'label map {path} cannot be read: {error}') from error
    if labels.ndim != 2:
        raise InputError(f'label map {path} is a colour image of shape {labels.shape}; expected '
                         'one channel of class numbers')
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def values_of(path):
    """The label values of a map, ascending, and how many pixels each has."""
    labels = read_label_map(path)
    if labels.dtype != np.uint8:
        return np.unique(labels, return_counts=True)
    counts = np.bincount(labels.ravel(), minlength=256)  # unique would sort all pixels
    values = counts.nonzero()[0]
    return values, counts[values]


def allowed_values(num_labels, ignore_index, reduce_zero_label):
    """The values that a label map may hold.

    Args:
        num_labels (int): classes, before a subset of them was chosen.
        ignore_index (int): the ignored value.
        reduce_zero_label (bool): 0 is ignored, and the classes are 1 to ``num_labels``.

    >>> allowed_values(2, 255, True)
    [0, 1, 2, 255]
    """
    return sorted({*range(num_labels + bool(reduce_zero_label)), ignore_index})


def check_values(where, path, values, num_labels, ignore_index, reduce_zero_label):
    """Raise InputError for a label map with values outside the classes."""
    strange = sorted(set(map(int, values)) - set(
        allowed_values(num_labels, ignore_index, reduce_zero_label)))
    if not strange:
        return
    first = 1 if reduce_zero_label else 0
    message = (f'{where}: label map {path} has the values {_short(values)}, but the {num_labels} '
               f'classes are {first} to {first + num_labels - 1} and {ignore_index} is ignored'
               f'{" (0 too)" if reduce_zero_label else ""}')
    if not reduce_zero_label and strange == [num_labels]:
        message += f'; where the classes start at 1, set {REDUCE_HINT.format(True)}'
    else:
        message += f'; the values {_short(strange)} need classes in metainfo or a new label map'
    raise InputError(message)


def check_zero_label(where, values_by_path, num_labels, ignore_index, whole=False):
    """Raise InputError where ``reduce_zero_label=True`` would throw a real class away.

    Labels that start at 0 leave two traces: the last value, ``num_labels``, never occurs, and
    the ignored pixels have their own value beside 0, or every class number below the last one
    occurs.

    Args:
        where (str): how messages name the data set.
        values_by_path (dict[str, Sequence[int]]): values of each label map that was read.
        num_labels (int): classes.
        ignore_index (int): the ignored value.
        whole (bool): these are all label maps, not a sample.
    """
    seen = {int(value) for values in values_by_path.values() for value in values}
    if 0 not in seen or num_labels in seen:
        return
    if ignore_index not in seen and not set(range(num_labels)) <= seen:
        return
    path, values = next((path, values) for path, values in values_by_path.items() if 0 in values)
    scope = 'of the data set' if whole else f'of the {len(values_by_path)} that were looked at'
    also = f', and {ignore_index} marks the ignored pixels' if ignore_index in seen else ''
    raise InputError(
        f'{where}: reduce_zero_label=True makes label 0 ignored and expects the classes at 1 to '
        f'{num_labels}, but no label map {scope} holds {num_labels}{also}; {path} has the '
        f'values {_short(values)}. Where the classes start at 0, set {REDUCE_HINT.format(False)}')


def label_maps(split):
    """Images and label maps of a data set, in its own order.

    Returns:
        list[tuple[str, str]]: paths of image and label map.

    Raises:
        InputError: the folder or list is missing, no image has the suffix, or images have no
            label map.
    """
    dataset, where = split.dataset, split.where
    folder = dataset.data_prefix.get('img_path') or ''
    maps = dataset.data_prefix.get('seg_map_path')
    for path, what in ((folder, 'images'), (maps, 'label maps')):
        if path and not os.path.isdir(path):
            raise InputError(f'{where}: the folder of {what} {path} does not exist; correct '
                             'data_prefix, or give the data set\'s folder with --data-root')
    if dataset.ann_file and not os.path.exists(dataset.ann_file):
        raise InputError(f'{where}: the list of images {dataset.ann_file} does not exist; '
                         'correct ann_file, or give the data set\'s folder with --data-root')
    pairs = [(info['img_path'], info.get('seg_map_path')) for info in dataset.load_data_list()]
    if not pairs:
        other = sorted({os.path.splitext(name)[1] for name in os.listdir(folder)} - {''})
        raise InputError(f'{where}: no image in {folder} ends with {dataset.img_suffix!r}'
                         + (f'; there are files ending with {", ".join(other)}: set img_suffix'
                            if other else ', the folder is empty; give the data set\'s folder '
                            'with --data-root'))
    return pairs


def missing_files(paths):
    """Those of the paths that do not exist; each folder is listed once."""
    listed, missing = {}, []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in listed:
            listed[folder] = _listing(folder)
        if name not in listed[folder]:
            missing.append(path)
    return missing


def _listing(folder):
    try:
        return set(os.listdir(folder or '.'))
    except OSError:
        return set()


def _short(values):
    values = [int(value) for value in values]
    if len(values) <= 24:
        return '{' + ', '.join(map(str, values)) + '}'
    return '{' + ', '.join(map(str, values[:8])) + ', ..., ' + ', '.join(
        map(str, values[-8:])) + '}'
