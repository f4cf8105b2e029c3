"""From the logits of a segmenter to the label map of an image, without its logits in full size.

Everything between the two - bilinear resizing to the window, averaging the windows, removing the
padding, turning a flipped image back, resizing to the original image - is linear and acts on
rows and columns separately. So it is one matrix an axis, applied to a tile of the label map at a
time.
"""
import torch
from torch import Tensor

#: rows and columns of a tile, whose logits stay in the cache
TILE = (64, 128)


def axis_matrix(windows: list[tuple[int, int]], cells: int, length: int, border: tuple[int, int],
                out: int, flip: bool = False, align_corners: bool = False) -> Tensor:
    """The matrix from the logits of all windows along one axis to the label map.

    Args:
        windows (list[tuple[int, int]]): begin and end of each window in pixels of the network's
            input, all of one length.
        cells (int): logits of a window.
        length (int): pixels of the input.
        border (tuple[int, int]): begin and end of the image in the padded input.
        out (int): pixels of the label map.
        flip (bool): the image was flipped along this axis.
        align_corners (bool): how the logits are resized, see ``F.interpolate``.

    Returns:
        Tensor: float32, (out, windows * cells); each row sums to 1.
    """
    placed = torch.zeros(length, len(windows), cells, dtype=torch.float64)
    for index, (begin, end) in enumerate(windows):
        placed[begin:end, index] = interpolation(cells, end - begin, align_corners)
    placed = placed.flatten(1)
    placed /= placed.sum(1, keepdim=True)
    placed = placed[border[0]:border[1]]
    if flip:
        placed = placed.flip(0)
    # two rows for each, added: as a product of matrices it would be cubic in the image's side
    low, high, to_high = neighbours(len(placed), out, align_corners)
    return (placed[low] * (1 - to_high)[:, None] + placed[high] * to_high[:, None]).float()


def interpolation(size: int, out: int, align_corners: bool = False) -> Tensor:
    """The matrix (out, size) of ``F.interpolate(mode='bilinear')`` along one axis, in float64."""
    low, high, to_high = neighbours(size, out, align_corners)
    matrix = torch.zeros(out, size, dtype=torch.float64)
    matrix.scatter_add_(1, low[:, None], (1 - to_high)[:, None])
    matrix.scatter_add_(1, high[:, None], to_high[:, None])
    return matrix


def neighbours(size: int, out: int, align_corners: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells of ``size`` that each of ``out`` places lies between, and the share of the
    second, in float64."""
    place = torch.arange(out, dtype=torch.float64)
    if align_corners:
        place *= (size - 1) / max(out - 1, 1)
    else:
        place = ((place + .5) * (size / out) - .5).clamp(min=0)
    low = place.long().clamp(max=size - 1)
    return low, (low + 1).clamp(max=size - 1), place - low


def label_map(logits: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The class with the largest logit at each pixel of ``rows @ logits @ columns.T``.

    Args:
        logits (Tensor): (h, w, classes).
        rows, columns (Tensor): (H, h) and (W, w), sparse in contents.

    Returns:
        Tensor: int64, (H, W).
    """
    device = logits.device
    labels = torch.empty(len(rows), len(columns), dtype=torch.int64, device=device)
    row_tiles = [(part, *_used(part)) for part in rows.to(device).split(TILE[0])]
    column_tiles = [(part, *_used(part)) for part in columns.to(device).split(TILE[1])]
    top = 0
    with torch.autocast(device.type, enabled=False):
        for row_part, row_places, row_weights in row_tiles:
            band = logits[row_places].float()
            left = 0
            for column_part, column_places, column_weights in column_tiles:
                source = column_weights @ band[:, column_places]
                tile = (row_weights @ source.flatten(1)).unflatten(1, source.shape[1:])
                labels[top:top + len(row_part), left:left + len(column_part)] = _argmax(tile)
                left += len(column_part)
            top += len(row_part)
    return labels


def _used(matrix):
    """The columns of a matrix that are not all zero: their numbers and values."""
    places = matrix.any(0).nonzero().squeeze(1)
    return places, matrix[:, places].contiguous()


def _argmax(values):
    """``values.argmax(-1)``; numpy's is four times faster than torch's on a CPU."""
    if values.device.type == 'cpu':
        return torch.from_numpy(values.numpy().argmax(-1))
    return values.argmax(-1)
