"""RoIAlign as a product with a sparse matrix, for CPUs.

RoIAlign (Mask R-CNN, arXiv 1703.06870) averages bilinear samples on a regular grid in each bin of
an RoI. So a bin is a weighted sum of a few pixels, and its weights are the product of one weight a
row and one a column. On channels-last maps the forward pass gathers those pixels with
``embedding_bag``, which runs on all threads. The output is Y = S X with the sparse matrix S of bins
by pixels, so the gradient of the maps is S' times that of the output: the entries, sorted by pixel
instead of bin, are gathered in the same way.
"""
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import mmcv.ops
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from convnext_dense.registry import MODELS

#: entries of the sparse matrix, 12 bytes each, above which mmcv computes the RoIs
MOST_ENTRIES = 2**25


@MODELS.register_module()
class RoIAlign(mmcv.ops.RoIAlign):
    """``mmcv.ops.RoIAlign`` with a faster average on CPUs: same arguments, same values.

    Args:
        output_size (int | tuple[int]): height and width of the output, in bins.
        spatial_scale (float): scale from the RoIs' coordinates to the map's, 1 / stride.
        sampling_ratio (int): samples a bin along each axis; 0 takes about one a map pixel.
        pool_mode (str): 'avg', or 'max' (which mmcv's operator computes).
        aligned (bool): shift the RoIs by half a map pixel, as detectron2 does.
        use_torchvision (bool): leave everything to torchvision's operator.
    """

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Features of the RoIs.

        Args:
            input (Tensor): maps of shape (N, C, H, W).
            rois (Tensor): shape (K, 5): image index in [0, N), then x1, y1, x2, y2 in the
                coordinates of the image.

        Returns:
            Tensor: shape (K, C, height, width) in bins, channels-last in memory on a CPU.
        """
        return roi_align_levels([input], rois, [self], rois.new_zeros(len(rois), dtype=torch.long))


def roi_align_levels(maps: Sequence[Tensor], rois: Tensor, layers: Iterable[Any], levels: Tensor
                     ) -> Tensor:
    """RoIAlign of every RoI on the pyramid level that it belongs to.

    Args:
        maps (Sequence[Tensor]): a map of shape (N, C, H, W) for each level.
        rois (Tensor): shape (K, 5), as :meth:`RoIAlign.forward` takes it.
        layers (Sequence[RoIAlign]): a layer for each level; they differ in ``spatial_scale`` only.
        levels (Tensor): int64, shape (K,), the level of each RoI.

    Returns:
        Tensor: shape (K, C, height, width) in bins.
    """
    layers = list(layers)
    layer = layers[0]
    # in 16 bits the RoIs would be off by pixels, and mmcv has no operator for bfloat16
    dtype = torch.promote_types(maps[0].dtype, torch.float32)
    if layer.pool_mode == 'avg' and not layer.use_torchvision and \
            all(x.device.type == 'cpu' for x in maps):
        with torch.no_grad():
            ascending, order = levels.sort(stable=True)
            sums = _weighted_sums([x.shape for x in maps], rois[order].to(dtype), layers,
                                  ascending)
        if sums is not None:
            features = _GatheredRoIAlign.apply(layer.output_size, order, ascending, sums,
                                               *(x.to(dtype) for x in maps))
            return features.to(maps[0].dtype)
    features = maps[0].new_zeros(len(rois), maps[0].shape[1], *layer.output_size, dtype=dtype)
    for level, (x, layer) in enumerate(zip(maps, layers)):
        index = (levels == level).nonzero().squeeze(1)
        # The call with no RoI keeps every level in the graph, as distributed training needs it.
        # mmcv takes every map for a channels-first one, whatever its strides say
        x = x.to(dtype, memory_format=torch.contiguous_format)
        features = features.index_put((index, ), mmcv.ops.RoIAlign.forward(
            layer, x, rois[index].to(dtype)))
    return features.to(maps[0].dtype)


def _weighted_sums(shapes, rois, layers, levels):
    """The sparse matrix from the pixels of a pyramid to the bins of its RoIs.

    Returns:
        tuple | None: for each entry its pixel (int32, row-major over level, image, y and x) and
        weight, and for each bin where its entries begin, with the end of the last one (int32).
        None leaves the RoIs to mmcv.
    """
    layer = layers[0]
    scale, size, base = _of_each_roi(shapes, layers, levels, rois.dtype)
    corners = rois[:, 1:] * scale - (0.5 if layer.aligned else 0.)
    starts, extents = corners[:, :2], corners[:, 2:] - corners[:, :2]
    if not layer.aligned:
        extents = extents.clamp(min=1)
    # mmcv says what is wrong with a negative extent. RoIs far larger than the map, which nobody
    # clipped, have a huge grid of samples.
    if not bool(((extents >= 0) & (extents <= 8 * size.amax(1, keepdim=True))).all()):
        return None
    bins_y, bins_x = layer.output_size
    width = size[:, 1:]
    (left, columns, column_weights), (top, rows, row_weights) = weights_of_both_axes(
        starts, extents, size.flip(1), (bins_x, bins_y), layer.sampling_ratio)

    counts = (rows[:, :, None] * columns[:, None]).flatten()
    begins = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    entries = int(begins[-1])
    if entries > MOST_ENTRIES:
        return None
    bin_index = torch.arange(len(counts), dtype=torch.int32).repeat_interleave(
        counts, output_size=entries)
    place = torch.arange(entries, dtype=torch.int32) - begins.int()[bin_index]
    columns = columns[:, None].expand(-1, bins_y, -1).flatten().int()[bin_index]
    y = torch.div(place, columns, rounding_mode='floor')
    x = place - y * columns
    del place, columns
    first = (rois[:, :1].long() * size[:, :1] + top) * width + base
    first = (first[:, :, None] + left[:, None]).int().flatten()
    width = width[:, None].expand(-1, bins_y, bins_x).flatten().int()[bin_index]
    pixels = first[bin_index] + y * width + x

    row_index = torch.div(bin_index, bins_x, rounding_mode='floor')
    column_index = torch.div(row_index, bins_y, rounding_mode='floor') * bins_x + \
        bin_index % bins_x
    weights = row_weights.flatten()[row_index * row_weights.shape[-1] + y] * \
        column_weights.flatten()[column_index * column_weights.shape[-1] + x]
    return pixels, weights, begins.int()


def _of_each_roi(shapes, layers, levels, dtype):
    """Scale (K, 1), height and width (K, 2), and first pixel (K, 1) of each RoI's level."""
    scales = torch.tensor([[layer.spatial_scale] for layer in layers], dtype=dtype)
    sizes = torch.tensor([shape[2:] for shape in shapes])
    bases = torch.tensor([[base] for base in _bases(shapes)[:-1]])
    return scales[levels], sizes[levels], bases[levels]


def _bases(shapes):
    """Where the pixels of each level begin in those of the pyramid, and where the last ends."""
    return [0, *accumulate(images * height * width for images, _, height, width in shapes)]


def weights_of_both_axes(starts: Tensor, extents: Tensor, sizes: Tensor, bins: tuple[int, int],
                         sampling_ratio: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """:func:`axis_weights` of x and of y.

    Args:
        starts, extents (Tensor): of the RoIs, shape (K, 2), along x and y.
        sizes (Tensor): of their maps, shape (K, 2), width and height.
        bins (tuple[int]): along x and y.

    Returns:
        list[tuple]: of x, and of y.
    """
    if bins[0] != bins[1]:
        return [axis_weights(starts[:, axis:axis + 1], extents[:, axis:axis + 1],
                             sizes[:, axis:axis + 1], bins[axis], sampling_ratio)
                for axis in range(2)]
    columns = [values.T.reshape(-1, 1) for values in (starts, extents, sizes)]
    joined = axis_weights(columns[0], columns[1], columns[2],
                          bins[0], sampling_ratio)
    return list(zip(*(values.unflatten(0, (2, -1)) for values in joined)))


def axis_weights(start: Tensor, extent: Tensor, size: Tensor, bins: int,
                 sampling_ratio: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the pixels along one axis for each bin.

    The operations and their order are mmcv's, so that a sample on the border of the map, beyond
    which it counts as zero, falls on the same side.

    Args:
        start, extent (Tensor): of the RoIs, shape (K, 1), in pixels of the map.
        size (Tensor): length of each RoI's map in pixels, shape (K, 1).
        bins (int): bins an RoI.
        sampling_ratio (int): samples a bin; 0 makes it ceil(extent / bins).

    Returns:
        tuple: first pixel and number of pixels of each bin (int64, shape (K, bins)), and their
        weights, of shape (K, bins, largest number).
    """
    start, bin_size = start[:, :, None], (extent / bins)[:, :, None]
    size = size.unsqueeze(-1)
    samples = bin_size.ceil() if sampling_ratio <= 0 else \
        torch.full_like(bin_size, sampling_ratio)
    most = int(samples.max()) if samples.numel() else 0
    bin_index = torch.arange(bins, dtype=start.dtype)[:, None]
    sample_index = torch.arange(max(most, 1), dtype=start.dtype)
    place = start + bin_index * bin_size + \
        (sample_index + 0.5) * bin_size / samples.clamp(min=1)
    counts = (sample_index < samples) & (place >= -1) & (place <= size)
    place = place.clamp(min=0).minimum((size - 1).to(place))
    low = place.long()
    to_high = place - low
    weight = counts / samples.clamp(min=1)

    first = torch.where(counts, low, size - 1).amin(2)
    # One pixel more than the last low one: the last sample's upper neighbour.
    number = torch.where(counts, low + 2, 0).amax(2).minimum(size.squeeze(-1)) - first
    number = number.clamp(min=0)
    largest = int(number.max()) if number.numel() else 0
    weights = start.new_zeros(*number.shape, largest + 1)
    offset = torch.where(counts, low - first[:, :, None], 0)
    weights.scatter_add_(2, offset, weight * (1 - to_high))
    # At the last pixel of the map the upper neighbour has no weight and is not counted.
    weights.scatter_add_(2, (offset + 1).clamp(max=largest), weight * to_high)
    return first, number, weights


def _gather(rows, sums):
    """Weighted sums of the rows of a matrix, one a bag."""
    index, weights, begins = sums
    return torch.embedding_bag(rows, index, begins, mode=0, per_sample_weights=weights,
                               include_last_offset=True)[0]


class _GatheredRoIAlign(Function):
    """RoIAlign as y = S x, of a sparse matrix S with a row of weights for each bin.

    So the gradient of x is S^T times that of y: the same kind of sums, a bag for each pixel that
    holds the bins to which it gave, with the weights that it gave. S' entries are sorted by pixel
    for it. ``order`` and ``levels`` are those of the matrix' RoIs, whose levels ascend.
    """

    @staticmethod
    def forward(ctx: Any, output_size: Any, order: Any, levels: Any, sums: Any,
                *maps: Tensor) -> Tensor:
        pixels, weights, begins = sums
        shapes, channels = [x.shape for x in maps], maps[0].shape[1]
        features = maps[0].new_empty(len(order), *output_size, channels)
        bins = output_size[0] * output_size[1]
        numbers = levels.bincount(minlength=len(maps)).tolist()
        ctx.rois = [slice(end - number, end) for number, end in zip(numbers, accumulate(numbers))]
        for x, base, rois in zip(maps, _bases(shapes), ctx.rois):
            index = order[rois]
            bags = begins[rois.start * bins:rois.stop * bins + 1]
            entries = slice(bags[0], bags[-1])
            rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
            features[index] = _gather(
                rows, (pixels[entries] - base, weights[entries], bags - bags[0])
            ).view(-1, *output_size, channels)
        ctx.order, ctx.sums, ctx.shapes = order, sums, shapes
        return features.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pixels, weights, begins = ctx.sums
        channels, bases = grad.shape[1], _bases(ctx.shapes)
        order = pixels.sort(stable=True).indices
        bins = torch.searchsorted(begins, order.int(), right=True, out_int32=True) - 1
        weights = weights[order]
        counts = torch.bincount(pixels, minlength=bases[-1])
        ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
        del order, counts
        grad, bins_of_roi = grad.permute(0, 2, 3, 1), grad.shape[2:].numel()
        grads = []
        # a call for each level: threads share its pixels, of which a coarse level's have more bins
        for begin, end, rois, (images, _, height, width) in zip(
                bases, bases[1:], ctx.rois, ctx.shapes):
            rows = grad[ctx.order[rois]].reshape(-1, channels)
            bags = ends[begin:end + 1]
            entries = slice(bags[0], bags[-1])
            grad_map = _gather(rows, (bins[entries] - rois.start * bins_of_roi, weights[entries],
                                      bags - bags[0]))
            grads.append(grad_map.view(images, height, width, channels).permute(0, 3, 1, 2))
        return None, None, None, None, *grads
