"""Layers with rows for each class, in the heads of mmdet and mmseg, and which rows belong together.

>>> rows_by_class(['apple', 'kiwi'], ['kiwi', 'mango'], 3, 3)     # a background row at the end
[(0, 1), (2, 2)]
"""
import re
from collections.abc import Sequence
from typing import NamedTuple


class Layout(NamedTuple):
    """Where the classes stand in a layer.

    Attributes:
        dim (int | None): the dimension that has the classes; None: none has.
        width (int): values of a class, which stand together; 0: as many as the layer shows.
        lead (int): values before the classes, such as a box.
        tails (tuple[int]): how many values may follow the classes, such as the background's.
        anchors (bool): the whole may repeat, for anchors of one place.
        shared (bool): the layer may be one for all classes.
        columns (bool): the last input channels are the scores of the classes, too.
    """
    dim: int | None = 0
    width: int = 1
    lead: int = 0
    tails: tuple = (0, 1, 2)  # 2: Seesaw loss has objectness beside the classes
    anchors: bool = False
    shared: bool = False
    columns: bool = False


SCORES = Layout()
ANCHORED = Layout(tails=(0, 1), anchors=True)
_MASKS = Layout(tails=(0, ), shared=True)
_NUMBERS = r'(?:\.\d+)*'
#: names of layers, and their layouts for weights of so many dimensions (None: any)
_LAYERS = [(re.compile(rf'(?:^|\.)(?:{names}){end}$'), rank, layout)
           for names, end, rank, layout in (
    # scores of RoI heads, queries, points, pixels and images
    (r'fc_cls(?:_ref)?|cls_branches|cls_embed|label_embedding|glbctx_head\.fc|segm_conv|se_layer'
     r'|semantic_head\.conv_logits'
     r'|(?:pam_|cam_)?conv_seg|(?:aux_|p_)?cls_seg|mask_norm', _NUMBERS + r'\.(?:weight|bias)',
     None, SCORES),
    (r'heatmap_head\.2|(?:tl|br)_heat\.\d+\.1\.conv', r'\.(?:weight|bias)', None, SCORES),
    (r'center_prior\.(?:mean|sigma)', '', None, SCORES),  # AutoAssign's
    ('cls_emb', '', 3, Layout(dim=1)),  # Segmenter's embeddings: (1, classes, channels)
    # scores of dense heads
    (r'(?:rtm|retina|atss|gfl|vfnet|tood|fovea|conv|multi_level_conv)_cls|reppoints_cls_out'
     r'|cls_score', _NUMBERS + r'\.(?:weight|bias)', None, ANCHORED),
    (r'cls_convs\.\d+\.\d+', r'\.(?:weight|bias)', None, Layout(tails=(1, ), anchors=True)),  # SSD
    (r'convs_pred\.\d+', r'\.(?:weight|bias)', None,  # YOLOv3: box and objectness, then classes
     Layout(lead=5, tails=(0, ), anchors=True)),
    # boxes and masks, of each class or of all
    (r'fc_reg(?:_ref)?', _NUMBERS + r'\.(?:weight|bias)', None,
     Layout(width=4, tails=(0, ), shared=True)),
    (r'conv_logits|fc_mask_iou', r'\.(?:weight|bias)', None, _MASKS),
    # PointRend: a coarse mask, and points that see its scores
    (r'fc_logits', r'\.weight', 2, Layout(width=0, tails=(0, ))),
    (r'point_head\.fc_logits', r'\.(?:weight|bias)', None, _MASKS._replace(columns=True)),
    (r'mask_head\.fc_logits', r'\.bias', 1, Layout(width=0, tails=(0, ))),
    (r'fc_seg', r'\.(?:weight|bias)', None, Layout(columns=True)),
    (r'fcs\.\d+\.conv', r'\.weight', 3, Layout(dim=None, columns=True)))]

#: layers of scores, those of the same anchors' boxes (none where there is one anchor), and rows
#: beside the classes
_COUNTED = (
    (r'decode_head(?:\.\d+)?\.conv_seg', '', 0), ('decode_head.cls_embed', '', 1),
    ('panoptic_head.cls_embed', '', 1), (r'bbox_head\.cls_branches\.0', '', 0),
    (r'roi_head\.bbox_head(?:\.\d+)?\.fc_cls', '', 1),
    (r'bbox_head\.rtm_cls\.0', 'rtm_reg.0', 0), (r'bbox_head\.rtm_cls', 'rtm_reg', 0),
    (r'bbox_head\.retina_cls(?:\.0)?', 'retina_reg', 0), ('bbox_head.atss_cls', 'atss_reg', 0),
    ('bbox_head.tood_cls', 'tood_reg', 0), ('bbox_head.conv_cls', 'conv_reg', 0),
    ('bbox_head.cls_score', 'bbox_pred', 0), ('bbox_head.gfl_cls', '', 0),
    ('bbox_head.vfnet_cls', '', 0), ('bbox_head.reppoints_cls_out', '', 0),
    (r'bbox_head\.multi_level_conv_cls\.0', '', 0))
_PROPOSALS = re.compile(r'(?:^|\.)rpn_head\.')  # of objects of any class
_NO_CLASSES = re.compile(r'reg|box(?!_head)|rpn|offset|shape|centerness|iou|anchor|neck')


def layout_of(key: str, rank: int) -> Layout | None:
    """The layout of a layer whose name is known; None for any other.

    Args:
        key: name of a tensor of a model.
        rank: how many dimensions it has.
    """
    if _PROPOSALS.search(key):
        return None
    return next((layout for names, wanted, layout in _LAYERS
                 if wanted in (None, rank) and names.search(key)), None)


def matched_places(key: str, found: Sequence[int], wanted: Sequence[int], old: Sequence[str],
                   new: Sequence[str]) -> dict[int, list[tuple[int, int]]] | None:
    """Which places of a file's tensor go where in the model's.

    Args:
        key: the model's name of the tensor.
        found, wanted: its shape in the file and in the model.
        old, new: class names of the file and of the model.

    Returns:
        dict | None: for each dimension with classes the pairs (place in the file, place in the
        model); empty where nothing of the file has a place; None where classes explain neither
        its rows nor its columns.
    """
    # with other numbers of classes, such numbers of rows tell a layer of any name
    layout = layout_of(key, len(wanted)) or (SCORES if len(old) != len(new) else None)
    if layout is None or len(found) != len(wanted):
        return None
    if layout.shared and len(old) == len(new) == 1 and tuple(found) == tuple(wanted):
        return None  # one box or mask for the one class, or for all
    moved = {}
    for dim, sizes in enumerate(zip(found, wanted)):
        pairs = None
        if dim == layout.dim:
            pairs = rows_by_class(old, new, *sizes, layout)
        elif dim == 1 and layout.columns:
            pairs = rows_by_class(old, new, *sizes, Layout(lead=max(sizes[0] - len(old), 0)))
        if pairs is not None:
            moved[dim] = pairs
        elif sizes[0] != sizes[1]:
            known = dim == layout.dim and layout_of(key, len(wanted)) and all(
                one == other for place, (one, other) in enumerate(zip(found, wanted))
                if place != dim)
            return {} if known else None  # of other kinds, such as a box of each class and of all
    if not moved:
        return None
    return moved if all(moved.values()) else {}


def rows_by_class(old: Sequence[str], new: Sequence[str], old_rows: int, new_rows: int,
                  layout: Layout = SCORES) -> list[tuple[int, int]] | None:
    """Which rows of a layer hold the same class.

    Args:
        old, new: class names of the file and of the model.
        old_rows, new_rows: rows of the layer.
        layout: how they follow from the classes.

    Returns:
        list: pairs (row of the file, row of the model); None where the rows are no classes'.
    """
    width = layout.width or old_rows // len(old)
    places = {plain_name(name): place for place, name in enumerate(old)}
    shared = [(places[plain_name(name)], place) for place, name in enumerate(new)
              if plain_name(name) in places]
    for tail in layout.tails:
        before, after = (layout.lead + width * len(names) + tail for names in (old, new))
        anchors = old_rows // before if layout.anchors else 1
        if not anchors or (old_rows, new_rows) != (anchors * before, anchors * after):
            continue
        one = [(place, place) for place in range(layout.lead)]
        one += [(layout.lead + width * first + place, layout.lead + width * second + place)
                for first, second in shared for place in range(width)]
        one += [(before - place, after - place) for place in range(tail, 0, -1)]
        return [(anchor * before + first, anchor * after + second)
                for anchor in range(anchors) for first, second in one]
    return None


def may_have_classes(key: str, shape: Sequence[int], old: Sequence[str] | None,
                     new: Sequence[str]) -> bool:
    """Whether a layer that is loaded row by row may have its rows from other classes.

    Args:
        key: the model's name of a tensor whose rows :func:`matched_places` does not explain.
        shape: of the tensor.
        old: class names of the file; None where nothing names them.
        new: of the model.
    """
    if len(shape) < 2 or old is not None and list(map(plain_name, old)) == list(
            map(plain_name, new)):
        return False
    layout = layout_of(key, len(shape))
    if layout:
        return layout.dim is not None and not layout.shared
    same = old is None or len(old) == len(new)
    return same and shape[0] > 1 and shape[0] - len(new) in (0, 1) and not _NO_CLASSES.search(key)


def number_of_classes(state: dict) -> int | None:
    """How many classes the heads of a detector or segmenter have, where shapes tell.

    Args:
        state: names and tensors, in mmdet's and mmseg's names.
    """
    for names, boxes, beside in _COUNTED:
        pattern = re.compile(names + r'\.weight')
        for key, tensor in state.items():
            if not pattern.fullmatch(key):
                continue
            anchors = 1
            if boxes:
                head = key.partition('bbox_head.')[0] + 'bbox_head.'
                box = next((state[head + name + '.weight'] for name in (boxes, boxes + '.0')
                            if head + name + '.weight' in state), None)
                if box is None or len(box) % 4 or len(tensor) % max(len(box) // 4, 1):
                    return None
                anchors = max(len(box) // 4, 1)
                if anchors > 1 and 'conv_cls' in names:  # YOLACT's softmax, with a background
                    return None
            return len(tensor) // anchors - beside
    return None


def plain_name(name: str) -> str:
    """Data sets write one class as ``traffic light``, ``traffic_light`` or ``Traffic-Light``."""
    return re.sub(r'[\s_-]+', ' ', str(name)).strip().casefold()
