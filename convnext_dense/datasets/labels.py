"""Label maps: one image of class numbers beside each image (the ADE20K layout)."""
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from convnext_dense.datasets.other_formats import import_hint
from convnext_dense.datasets.splits import Split
from convnext_dense.errors import InputError

ONE_CHANNEL = ('expected one channel of class numbers; `convnext-dense new PROJECT --data DIR` '
               'turns colour masks into such label maps')
REDUCE_HINT = 'reduce_zero_label={} (in the data set and in LoadAnnotations)'


class LabelRules(NamedTuple):
    """Which values the label maps of a data set may hold.

    Attributes:
        classes (int): labels 0 to ``classes - 1`` are classes once a map is loaded.
        ignored (frozenset[int]): loaded labels that do not count.
        first (int): what the files have for label 0: 1 under ``reduce_zero_label``.
        stored (int): classes in the files, of which the config may keep a part.
    """
    classes: int
    ignored: frozenset = frozenset({255})
    first: int = 0
    stored: int = 0


def label_rules(dataset: Any) -> LabelRules | None:
    """The rules of one of mmseg's data sets, or None where it has no classes.

    What ``reduce_zero_label`` and a subset of the classes leave out becomes 255 in mmseg's loader.
    """
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not classes:
        return None
    label_map = getattr(dataset, 'label_map', None)
    reduced = bool(getattr(dataset, 'reduce_zero_label', False))
    ignored = {getattr(dataset, 'ignore_index', 255)} | ({255} if reduced or label_map else set())
    return LabelRules(len(classes), frozenset(ignored), int(reduced),
                      len(label_map or classes))


def outside(values: Iterable[int], rules: LabelRules) -> list[int]:
    """Loaded label values that are neither a class nor ignored, ascending."""
    return sorted(value for value in set(map(int, values))
                  if not 0 <= value < rules.classes and value not in rules.ignored)


def describe_outside(values: Iterable[int], rules: LabelRules) -> str:
    """Which values of a label map are outside, in the numbers of its file, and what to do."""
    strange = [value + rules.first for value in outside(values, rules)]
    in_file = sorted(value if value in rules.ignored else value + rules.first
                     for value in set(map(int, values)))
    text = (f'has the values {_short(in_file)}, but the {rules.stored} classes are {rules.first} '
            f'to {rules.first + rules.stored - 1} and {_plain(rules.ignored)} is ignored'
            f'{" (0 too)" if rules.first else ""}')
    if rules.stored == 1:
        return (f'{text}; a class and its background are two classes: name both in metainfo, such '
                "as classes=('background', 'object')")
    if not rules.first and strange == [rules.stored]:
        return f'{text}; where the classes start at 1, set {REDUCE_HINT.format(True)}'
    return (f'{text}; the values {_short(strange)} need classes in metainfo, or say which label '
            f'each value is: {label_values_hint(in_file, rules)}')


def label_values_hint(values: Iterable[int], rules: LabelRules) -> str:
    """An example of ``--label-values`` for the values of a label map."""
    values = set(map(int, values))
    kept = sorted(values - rules.ignored)
    if len(kept) < rules.classes:
        kept = sorted(values)
    pairs = [f'{value}={label if label < rules.classes else max(rules.ignored)}'
             for label, value in enumerate(kept)]
    return '--label-values ' + ','.join(pairs[:8]) + (',...' if len(pairs) > 8 else '')


def check_values(where: str, path: str, values: Iterable[int], rules: LabelRules) -> None:
    """Raise InputError for a label map with values outside the classes.

    Args:
        where (str): how messages name the data set.
        path (str): the label map.
        values (Sequence[int]): the loaded values in it.
        rules (LabelRules): of the data set.
    """
    if outside(values, rules):
        raise InputError(f'{where}: label map {path} {describe_outside(values, rules)}')


def check_one_class(where: str, values_by_path: Mapping[str, Sequence[int]],
                    rules: LabelRules) -> None:
    """Raise InputError where an ignored value hides a class: masks of 0 and 255.

    Args:
        where (str): how messages name the data set.
        values_by_path (dict[str, Sequence[int]]): loaded values of each label map.
        rules (LabelRules): of the data set.
    """
    seen = {int(value) for values in values_by_path.values() for value in values}
    classes, ignored = seen - rules.ignored, sorted(seen & rules.ignored)
    if rules.classes < 2 or len(classes) > 1 or not ignored or rules.first:
        return
    path = next(path for path, values in values_by_path.items() if ignored[0] in values)
    raise InputError(
        f'{where}: the {len(values_by_path)} label maps that were looked at have no values but '
        f'{_short(sorted(seen))}, and {_short(ignored)} is ignored, as in {path}: at most 1 of '
        f'{rules.classes} classes could be learned; where {ignored[0]} is a class, say which '
        f'label each value is: {label_values_hint(seen, rules)}')


def check_zero_label(where: str, values_by_path: Mapping[str, Sequence[int]], num_labels: int,
                     ignore_index: int, whole: bool = False) -> None:
    """Raise InputError where ``reduce_zero_label=True`` would throw a real class away.

    Labels that start at 0 leave two traces: the last value, ``num_labels``, never occurs, and
    the ignored pixels have their own value beside 0, or every class number below the last one
    occurs.

    Args:
        where (str): how messages name the data set.
        values_by_path (dict[str, Sequence[int]]): values in the file of each label map.
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


def label_maps(split: Split) -> list[dict[str, Any]]:
    """What a data set knows of each image, in its own order.

    Returns:
        list[dict]: with ``img_path`` and, where there are label maps, ``seg_map_path``.

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
                             'data_prefix, or give the data set\'s folder with --data-root'
                             + import_hint(dataset.data_root))
    if dataset.ann_file and not os.path.exists(dataset.ann_file):
        raise InputError(f'{where}: the list of images {dataset.ann_file} does not exist; '
                         'correct ann_file, or give the data set\'s folder with --data-root')
    infos = dataset.load_data_list()
    if not infos:
        other = sorted({os.path.splitext(name)[1] for name in os.listdir(folder)} - {''})
        raise InputError(f'{where}: no image in {folder} ends with {dataset.img_suffix!r}'
                         + (f'; there are files ending with {", ".join(other)}: set img_suffix'
                            if other else ', the folder is empty; give the data set\'s folder '
                            'with --data-root'))
    return infos


def missing_files(paths: Iterable[str]) -> list[str]:
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


def _plain(values):
    return ', '.join(map(str, sorted(values)))
