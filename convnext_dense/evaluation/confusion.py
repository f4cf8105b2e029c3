"""Integer pixel counts of a predicted against an annotated label map."""
import cv2
import numpy as np
import torch
import torch.nn.functional as F

# side of the table of counts: rows and columns for every value of an 8-bit label map, so that
# ignored and impossible labels are counted in the same pass and sorted out afterwards; two more
# for the ignored label and for one outside
_VALUES = 256


def table_side(classes: int) -> int:
    """Rows and columns of :func:`count_pixels`'s table."""
    return max(_VALUES, classes) + 2


def count_pixels(prediction: torch.Tensor, label: torch.Tensor, classes: int,
                 ignore_index: int = 255) -> torch.Tensor:
    """Pixels of every pair of annotated and predicted label: one pass on the label maps' device.

    Args:
        prediction (torch.Tensor): labels, any shape and dtype.
        label (torch.Tensor): annotated labels, as many elements; any integer dtype, any device.
        classes (int): number of classes.
        ignore_index (int): annotated label that does not count.

    Returns:
        torch.Tensor: (side, side) int64, side of :func:`table_side`, on the prediction's device.
        Row: the annotated label, ``side - 1`` for one outside the table; the row of the ignored
        label is 0. Column: the predicted label, ``side - 1`` for one outside the table.
    """
    side = table_side(classes)
    label, prediction = label.to(prediction.device).flatten(), prediction.flatten()
    pixels = None
    if prediction.device.type == 'cpu':
        # neighbours mostly share their labels: a hundred times fewer runs than pixels
        starts, pixels = _runs(prediction.numpy(), label.numpy())
        label, prediction = label[starts], prediction[starts]
    if label.dtype == torch.uint8:
        rows = label.to(torch.int32)
    else:
        # other integer types hold -100 and 65535 too
        inside = (label >= 0) & (label < side - 2)
        rows = torch.where(label == ignore_index, side - 2,
                           torch.where(inside, label, side - 1)).to(torch.int32)
        ignore_index = side - 2
    if prediction.dtype == torch.int64:
        prediction = prediction.clamp(-1, side - 1)  # before the narrower type, which would wrap
    # one column more, before the first, takes negative labels
    columns = prediction.to(torch.int32).clamp_(-1, side - 1)
    cells = rows.mul_(side + 1).add_(columns).add_(1)
    # weights make it float64, exact for whole numbers below 2**53
    table = torch.bincount(cells, pixels, side * (side + 1)).long().view(side, side + 1)
    negative, table = table[:, 0], table[:, 1:].contiguous()
    table[:, -1] += negative
    if 0 <= ignore_index < side:
        table[ignore_index] = 0
    return table


def _runs(prediction, label):
    """Runs of pixels with the same pair of labels: tensors of their first pixels and lengths."""
    first = np.ones(len(label), bool)
    np.not_equal(prediction[1:], prediction[:-1], out=first[1:])
    first[1:] |= label[1:] != label[:-1]
    starts = np.flatnonzero(first)
    lengths = np.diff(starts, append=len(label))
    return torch.from_numpy(starts), torch.from_numpy(lengths)


def boundary_mask(labels: torch.Tensor, ratio: float = 0.02) -> torch.Tensor:
    """Pixels of a label map that lie near another label or the image's edge.

    The inner boundary of Boundary IoU (Cheng et al., CVPR 2021), for all classes at once: a pixel
    belongs to it where the square of side 2d+1 around it holds another label or leaves the
    image; d is ``ratio`` times the image's diagonal, rounded, at least 1.

    Args:
        labels (torch.Tensor): (height, width), labels below 65536.
        ratio (float): width of the boundary in diagonals.

    Returns:
        torch.Tensor: (height, width) bool.
    """
    height, width = labels.shape
    distance = max(1, round(ratio * float(np.hypot(height, width))))
    if labels.device.type == 'cpu':
        array = labels.numpy().astype(np.uint16)
        kernel = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
        # OpenCV's border never wins an erosion or a dilation
        near = torch.from_numpy(cv2.dilate(array, kernel) != cv2.erode(array, kernel))
    else:
        values = labels.to(torch.float32)[None, None]
        pool = 2 * distance + 1
        near = torch.zeros_like(labels, dtype=torch.bool)
        for sign in (1, -1):
            extreme = F.max_pool2d(sign * values, (pool, 1), 1, (distance, 0))
            extreme = F.max_pool2d(extreme, (1, pool), 1, (0, distance))[0, 0]
            near |= extreme != sign * values[0, 0]
    near[:distance] = near[-distance:] = True
    near[:, :distance] = near[:, -distance:] = True
    return near


def count_boundaries(prediction: torch.Tensor, label: torch.Tensor, classes: int,
                     ignore_index: int = 255, ratio: float = 0.02) -> torch.Tensor:
    """Boundary pixels of every class: in both maps with the same label, predicted, annotated.

    Args:
        prediction, label (torch.Tensor): (height, width) integer labels.
        classes, ignore_index: as in :func:`count_pixels`.
        ratio (float): width of the boundary in diagonals.

    Returns:
        torch.Tensor: (3, classes) int64: intersection, prediction, label. Ignored pixels count
        nowhere, but their border with a class is that class's boundary.
    """
    label = label.to(prediction.device)
    valid = label != ignore_index
    predicted = boundary_mask(prediction, ratio) & valid
    annotated = boundary_mask(label, ratio) & valid
    both = predicted & annotated & (prediction == label)
    return torch.stack([torch.bincount(values.long(), minlength=classes)[:classes]
                        for values in (label[both], prediction[predicted], label[annotated])])
