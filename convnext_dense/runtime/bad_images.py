"""What makes an image or its annotations unusable, judged from the files."""
import os
import traceback

from convnext_dense.checks.instance_checks import undrawable_mask
from convnext_dense.datasets.labels import values_of
from convnext_dense.errors import InputError

OUTSIDE = 2.  # pixels; COCO's own boxes leave the image by rounding errors
FORMATS = {'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif'), 'PNG': ('.png', ), 'BMP': ('.bmp', ),
           'TIFF': ('.tif', '.tiff'), 'WEBP': ('.webp', ), 'GIF': ('.gif', )}
ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND\xaeB`\x82'}


class Inspector:
    """Looks at the files of a sample before they are loaded.

    Args:
        bad_images (BadImageList): where problems are written down.
        training (bool): samples without any target are of no use.
    """

    def __init__(self, bad_images, training=False):
        self.bad_images = bad_images
        self.training = training
        self.seen = {}

    def look(self, dataset, index):
        """What makes a sample unusable, or None. Each sample is looked at once a process."""
        if index not in self.seen:
            try:
                info = dataset.get_data_info(index)
            except (AttributeError, NotImplementedError):
                info = {}
            self.seen[index] = self._look(info, dataset) if isinstance(info, dict) else None
        return self.seen[index]

    def _look(self, info, dataset):
        path = info.get('img_path')
        if not isinstance(path, str) or '://' in path:
            return None
        problem, oddities, shape = look_at_image(path, info.get('width'), info.get('height'))
        for oddity in oddities:
            self.bad_images.add(path, oddity, used=problem is None, size=len(dataset))
        if problem is None and info.get('seg_map_path') and info.get('seg_fields') is not None:
            path = info['seg_map_path']
            problem = look_at_label_map(path, shape, info, dataset, self.training)
        elif problem is None and self.training and info.get('without_target'):
            problem = 'has no annotation that can be used'
        if problem is None:
            return None
        self.bad_images.add(path, problem, used=False, size=len(dataset))
        return f'{path}: {problem}'

    def failed(self, dataset, index, error):
        """Write down that the pipeline failed on a sample.

        Returns:
            str: file and problem.
        """
        path = _path_in_frames(error) or _path_of(dataset, index)
        text = (str(error).strip().splitlines() or [''])[0]
        problem = f'{type(error).__name__}: {text}'
        self.bad_images.add(path, problem, used=False, size=len(dataset), detail=''.join(
            traceback.format_exception(error)))
        return f'{path}: {problem}'


def _path_in_frames(error):
    """The image that was being worked on: mixed samples (mosaic) hold several."""
    path, frame = None, error.__traceback__
    while frame is not None:
        for name in ('results', 'data_info', 'data'):
            value = frame.tb_frame.f_locals.get(name)
            if isinstance(value, dict) and isinstance(value.get('img_path'), str):
                path = value['img_path']
        frame = frame.tb_next
    return path


def _path_of(dataset, index):
    try:
        return dataset.get_data_info(index)['img_path']
    except Exception:  # whatever the data set is
        return f'sample {index} of {type(dataset).__name__}'


def look_at_image(path, width=None, height=None, check_name=True):
    """What is wrong with an image file, judged by its header and its end.

    Args:
        path (str): a local file.
        width, height (int, optional): in pixels, as the annotation has them.
        check_name (bool): look whether the name's extension is the content's.

    Returns:
        tuple: (problem or None, oddities of a usable image, (width, height) or None).
    """
    from PIL import Image, UnidentifiedImageError
    if os.path.isdir(path):
        return 'is a folder, expected an image', [], None
    try:
        with open(path, 'rb') as file:
            size = file.seek(0, os.SEEK_END)
            if not size:
                return 'is an empty file', [], None
            file.seek(0)
            try:
                image = Image.open(file)
            except UnidentifiedImageError:
                return 'is no image', [], None
            shape, mode, kind = image.size, image.mode, image.format
            if image.getexif().get(274, 1) in (5, 6, 7, 8):  # turned by a quarter
                shape = shape[::-1]
            file.seek(24)
            depth = file.read(1)
            if kind in ENDS and _is_cut(file, size, ENDS[kind]):
                return 'is truncated', [], shape
    except FileNotFoundError:
        return 'is missing', [], None
    except Exception as error:  # decoders of broken headers fail in every way
        if 'truncated' in str(error):
            return 'is truncated', [], None
        return f'cannot be read ({type(error).__name__}: {error})', [], None
    if check_name and min(shape) < 2:
        return f'has {shape[0]}x{shape[1]} pixels', [], shape
    if width and height and shape != (width, height):
        problem = f'has {shape[0]}x{shape[1]} pixels, its annotation says {width}x{height}'
        return problem, [], shape
    oddities = []
    if mode == 'CMYK':
        oddities.append('has CMYK colours')
    if mode.startswith('I;16') or kind == 'PNG' and depth == b'\x10':
        oddities.append('has 16 bits a channel')
    extensions = FORMATS.get(kind)
    if check_name and extensions and not path.lower().endswith(extensions):
        oddities.append(f'is a {kind} image by content')
    return None, oddities, shape


def look_at_label_map(path, shape, info, dataset, training):
    """What is wrong with a label map, or None.

    Args:
        path (str): a local file.
        shape (tuple): (width, height) of its image.
        info (dict): of the sample, with mmseg's ``label_map`` and ``reduce_zero_label``.
        dataset: has mmseg's ``metainfo`` and, unless it wraps another one, ``ignore_index``.
        training (bool): a map without any class is of no use.
    """
    problem, _, found = look_at_image(path, check_name=False)
    if problem:
        return problem
    if found != shape:
        return (f'the label map has {found[0]}x{found[1]} pixels, its image '
                f'{shape[0]}x{shape[1]}')
    names = info.get('label_map') or getattr(dataset, 'metainfo', {}).get('classes')
    if not names:
        return None
    ignored, first = getattr(dataset, 'ignore_index', 255), int(bool(info.get('reduce_zero_label')))
    try:
        values = set(values_of(path)[0].tolist()) - {ignored}
    except InputError as error:
        return str(error)
    classes = set(range(first, first + len(names)))
    strange = sorted(values - classes - set(range(first)))
    if strange:
        return (f'the label map has the value {strange[0]}, the classes are {first} to '
                f'{first + len(names) - 1}')
    if training and not values & classes:
        return 'the label map has no class, only ignored pixels'
    return None


def _is_cut(file, size, end):
    """Whether an image stops early; a look at the last bytes settles nearly every case."""
    tail = min(size, 64)
    file.seek(size - tail)
    if end in file.read():
        return False
    from PIL import Image
    file.seek(0)
    try:
        Image.open(file).load()
    except Exception:
        return True
    return False


def look_at_boxes(raw):
    """Problems of an image's COCO annotations, as text without the image's name.

    Args:
        raw (dict): ``raw_img_info`` and ``raw_ann_info`` of mmdet's CocoDataset.
    """
    width, height = raw['raw_img_info']['width'], raw['raw_img_info']['height']
    for annotation in raw['raw_ann_info']:
        if annotation.get('ignore'):
            continue
        x, y, w, h = annotation['bbox']
        name = f'annotation {annotation.get("id")}'
        if w <= 0 or h <= 0 or annotation.get('area', 1) <= 0:
            yield f'{name} has a box of no area: {[x, y, w, h]}'
        elif max(-x, -y, x + w - width, y + h - height) > OUTSIDE:
            yield f'{name} leaves the {width}x{height} image: {[x, y, w, h]}'


def drop_undrawable_masks(raw):
    """Take annotations whose mask would exhaust the memory out of ``raw``.

    Args:
        raw (dict): as in :func:`look_at_boxes`.

    Returns:
        list[str]: what is wrong with each.
    """
    width, height = raw['raw_img_info']['width'], raw['raw_img_info']['height']
    problems, kept = [], []
    for annotation in raw['raw_ann_info']:
        problem = undrawable_mask(annotation.get('segmentation'), width, height)
        if problem:
            problems.append(f'annotation {annotation.get("id")} has {problem}')
        else:
            kept.append(annotation)
    raw['raw_ann_info'] = kept
    return problems
