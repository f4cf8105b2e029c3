"""RoIAlign as two small matrix products an RoI, for CPUs.

RoIAlign (Mask R-CNN, arXiv 1703.06870) averages bilinear samples on a regular grid, and both the
average and the interpolation are separable. So the feature of an RoI is ``A_y X A_x^T`` for each
channel, where X is the part of the map that the RoI touches and A_y, A_x are interpolation
matrices with one row a bin. On channels-last maps X is read in place. The backward pass is the
transposed products, added in place to the map's gradient.
"""
import mmcv.ops
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from convnext_dense.registry import MODELS


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

    def forward(self, input, rois):
        """Features of the RoIs.

        Args:
            input (Tensor): maps of shape (N, C, H, W).
            rois (Tensor): shape (K, 5): picture index in [0, N), then x1, y1, x2, y2 in the
                coordinates of the picture.

        Returns:
            Tensor: shape (K, C, *output_size), channels-last in memory on a CPU.
        """
        return roi_align_levels([input], rois, [self], rois.new_zeros(len(rois), dtype=torch.long))


def roi_align_levels(maps, rois, layers, levels):
    """RoIAlign of every RoI on the pyramid level that it belongs to.

    Args:
        maps (Sequence[Tensor]): a map of shape (N, C, H, W) for each level.
        rois (Tensor): shape (K, 5), as :meth:`RoIAlign.forward` takes it.
        layers (Sequence[RoIAlign]): a layer for each level; they differ in ``spatial_scale`` only.
        levels (Tensor): int64, shape (K,), the level of each RoI.

    Returns:
        Tensor: shape (K, C, *output_size).
    """
    layer = layers[0]
    if layer.pool_mode == 'avg' and not layer.use_torchvision and \
            all(x.device.type == 'cpu' for x in maps):
        dtype = torch.promote_types(maps[0].dtype, torch.float32)
        with torch.no_grad():
            grid = _sampling_grid([x.shape[2:] for x in maps], rois.to(dtype), layers, levels)
        if grid is not None:
            features = _SeparableRoIAlign.apply(*grid, *(x.to(dtype) for x in maps))
            return features.to(maps[0].dtype)
    features = maps[0].new_zeros(len(rois), maps[0].shape[1], *layer.output_size)
    for level, (x, layer) in enumerate(zip(maps, layers)):
        index = (levels == level).nonzero().squeeze(1)
        # The call with no RoI keeps every level in the graph, as distributed training needs it.
        features = features.index_put((index, ), mmcv.ops.RoIAlign.forward(layer, x, rois[index]))
    return features


def _sampling_grid(sizes, rois, layers, levels):
    """Where each RoI lies and its interpolation matrices; None leaves the RoIs to mmcv.

    Returns:
        tuple: list of (level, picture, y0, y1, x0, x1), the part of the map that each RoI
        touches, and the matrices of both axes, of shapes (K, bins, longest part).
    """
    layer = layers[0]
    longest = max(max(size) for size in sizes)
    sizes = torch.tensor([tuple(size) for size in sizes], dtype=rois.dtype)[levels]
    scales = torch.tensor([layer.spatial_scale for layer in layers], dtype=rois.dtype)[levels]
    corners = rois[:, 1:] * scales[:, None] - (0.5 if layer.aligned else 0.)
    starts, extents = corners[:, :2], corners[:, 2:] - corners[:, :2]
    if not layer.aligned:
        extents = extents.clamp(min=1)
    # mmcv says what is wrong with a negative extent. A grid far larger than the maps comes from
    # RoIs that nobody clipped; its list of samples would be huge.
    if not bool(((extents >= 0) & (extents <= 8 * longest)).all()):
        return None
    axes = []
    for axis, bins in ((1, layer.output_size[0]), (0, layer.output_size[1])):
        axes.append(_axis_matrices(starts[:, axis], extents[:, axis], sizes[:, 1 - axis], bins,
                                   layer.sampling_ratio))
    (y0, y1, rows), (x0, x1, columns) = axes
    parts = torch.stack([levels, rois[:, 0].long(), y0, y1, x0, x1], dim=1).tolist()
    return parts, rows, columns


def _axis_matrices(start, extent, size, bins, sampling_ratio):
    """Interpolation along one axis: where it begins and ends, and the matrices.

    The operations and their order are mmcv's, so that a sample on the border of the map, beyond
    which it counts as zero, falls on the same side.

    Args:
        start, extent (Tensor): of the RoIs, shape (K,), in pixels of the map.
        size (Tensor): length of the map, shape (K,), in pixels.
        bins (int): rows of each matrix.
        sampling_ratio (int): samples a bin; 0 makes it ceil(extent / bins).

    Returns:
        tuple: first pixel and the one after the last (int64, shape (K,)), matrices of shape
        (K, bins, longest stretch).
    """
    bin_size = (extent / bins)[:, None, None]
    if sampling_ratio > 0:
        samples = torch.full_like(extent, sampling_ratio)
    else:
        samples = torch.ceil(extent / bins)
    samples, size = samples[:, None, None], size[:, None, None]
    most = int(samples.max()) if len(extent) else 0
    bin_index = torch.arange(bins, dtype=start.dtype)[:, None]
    sample_index = torch.arange(most, dtype=start.dtype)
    place = start[:, None, None] + bin_index * bin_size + \
        (sample_index + 0.5) * bin_size / samples.clamp(min=1)
    counts = (sample_index < samples) & (place >= -1) & (place <= size)
    place = torch.minimum(place.clamp(min=0), size - 1)
    low = place.floor()
    to_high = place - low
    weight = counts / samples.clamp(min=1)

    low, last = low.long(), size.long() - 1
    first = torch.where(counts, low, last).flatten(1)
    end = torch.where(counts, low + 1, 0).flatten(1)
    first = first.amin(1) if most else torch.zeros_like(last.flatten())
    end = end.amax(1) if most else first
    end = torch.minimum(end + 1, last.flatten() + 1)
    longest = int((end - first).clamp(min=0).max()) if len(first) else 0
    matrices = start.new_zeros(len(start), bins, longest + 1)
    offset = torch.where(counts, low - first[:, None, None], 0)
    matrices.scatter_add_(2, offset, weight * (1 - to_high))
    # At the last pixel the upper neighbour has no weight and may lie outside the matrix.
    matrices.scatter_add_(2, (offset + 1).clamp(max=longest), weight * to_high)
    return first, torch.maximum(end, first), matrices


class _SeparableRoIAlign(Function):

    @staticmethod
    def forward(ctx, parts, rows, columns, *maps):
        maps = [x.permute(0, 2, 3, 1).contiguous() for x in maps]
        height, width, channels = rows.shape[1], columns.shape[1], maps[0].shape[3]
        features = rows.new_zeros(len(parts), height, width, channels)
        for feature, row, column, (level, picture, y0, y1, x0, x1) in zip(
                features, rows, columns, parts):
            if y0 == y1 or x0 == x1:
                continue
            part = maps[level][picture, y0:y1, x0:x1].flatten(1)
            part = torch.mm(row[:, :y1 - y0], part).view(height, x1 - x0, channels)
            torch.bmm(column[:, :x1 - x0].expand(height, -1, -1), part, out=feature)
        ctx.parts, ctx.shapes = parts, [x.shape for x in maps]
        ctx.save_for_backward(rows, columns)
        return features.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        rows, columns = ctx.saved_tensors
        grad = grad.permute(0, 2, 3, 1).contiguous()
        grad_maps = [grad.new_zeros(shape) for shape in ctx.shapes]
        height = rows.shape[1]
        for feature, row, column, (level, picture, y0, y1, x0, x1) in zip(
                grad, rows, columns, ctx.parts):
            if y0 == y1 or x0 == x1:
                continue
            part = torch.bmm(column[:, :x1 - x0].t().expand(height, -1, -1), feature)
            whole = grad_maps[level][picture, y0:y1, x0:x1].flatten(1)
            whole.addmm_(row[:, :y1 - y0].t(), part.flatten(1))
        return None, None, None, *(x.permute(0, 3, 1, 2) for x in grad_maps)
