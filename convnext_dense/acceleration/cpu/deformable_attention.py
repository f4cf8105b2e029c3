"""Multi-scale deformable attention (arXiv 2010.04159) on a CPU, as weighted sums of table rows.

Each query and head takes ``levels x points`` bilinear samples: a weighted sum of four times as many
rows of a table that has a row for each cell of the maps and head. ``embedding_bag`` sums them up on
all threads and writes the sum alone; mmcv samples channel by channel and keeps every sample. With
the sparse matrix S of sums by rows the output is S V, so the gradient of V is S' times that of the
output: the samples, sorted by cell instead of query, are summed up in the same way.
"""
from collections.abc import Iterator
from typing import Any

import torch
from mmcv.ops import MultiScaleDeformableAttention
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from convnext_dense.acceleration.forms import Form
from convnext_dense.plain_layers import in_float32_on_cpu
from convnext_dense.private.torch import row_products

#: samples of a chunk, 32 bytes of rows' numbers and weights each
CHUNK = 2**18
#: cells times heads, at most, so that with their borders float32 holds the rows' numbers exactly
MOST_ROWS = 2**23
#: zeros around a map: what lies farther outside is moved there, where all four cells are zeros
BORDER = 2


class DeformableAttention(MultiScaleDeformableAttention, Form):
    """mmcv's ``MultiScaleDeformableAttention`` in float32 on a CPU: same values, hand-written
    gradients."""

    def forward(self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None,
                identity: Tensor | None = None, query_pos: Tensor | None = None,
                key_padding_mask: Tensor | None = None, reference_points: Any = None,
                spatial_shapes: Any = None, level_start_index: Tensor | None = None,
                **kwargs: Any) -> Tensor:
        """See mmcv; (queries, N, C) or, with ``batch_first``, (N, queries, C)."""
        tensors = (query, query if value is None else value, reference_points)
        cells = tensors[1].shape[1 if self.batch_first else 0]
        if 'residual' in kwargs or reference_points.shape[-1] not in (2, 4) or \
                cells * self.num_heads > MOST_ROWS or \
                not all(map(in_float32_on_cpu, tensors)):
            return super().forward(query, key, value, identity, query_pos, key_padding_mask,
                                   reference_points, spatial_shapes, level_start_index, **kwargs)
        value = query if value is None else value
        identity = query if identity is None else identity
        if query_pos is not None:
            query = query + query_pos
        if not self.batch_first:
            query, value = query.transpose(0, 1), value.transpose(0, 1)
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.)
        samples = (*query.shape[:2], self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).unflatten(2, (self.num_heads, -1))
        weights = self.attention_weights(query).view(*samples[:3], -1).softmax(-1).view(samples)
        sizes: list[tuple[int, int]] = [(int(h), int(w)) for h, w in spatial_shapes.tolist()]
        extents = query.new_tensor([size[::-1] for size in sizes])
        if reference_points.shape[-1] == 4:
            boxes = reference_points[..., 2:] * extents * (.5 / self.num_points)
            offsets = offsets * self._of_points(boxes)
        places = (self._of_points(reference_points[..., :2] * extents) + offsets).view(*samples, 2)
        output = self.output_proj(weighted_samples(
            value.unflatten(2, (self.num_heads, -1)), sizes, places, weights))
        if not self.batch_first:
            output = output.transpose(0, 1)
        return self.dropout(output) + identity

    def _of_points(self, of_levels):
        """Values of levels, (N, queries, levels, 2), as the offsets of heads are laid out."""
        return of_levels.repeat_interleave(self.num_points, 2).flatten(2)[:, :, None]


def weighted_samples(value: Tensor, sizes: list[tuple[int, int]], places: Tensor, weights: Tensor
                     ) -> Tensor:
    """Weighted sums of bilinear samples of a pyramid; what lies outside of a map counts as 0.

    Args:
        value (Tensor): the cells of all levels, row by row, (N, cells, heads, C), on a CPU.
        sizes (list[tuple[int, int]]): height and width of each level in cells.
        places (Tensor): of the samples, x and y in cells from the upper left corner of the map,
            (N, queries, heads, levels, points, 2).
        weights (Tensor): of the samples, (N, queries, heads, levels, points).

    Returns:
        Tensor: (N, queries, heads * C).
    """
    return _WeightedSamples.apply(value, places.contiguous(), weights.contiguous(), sizes)


class Table:
    """How the cells of a pyramid become rows of a table: level, y, x, head, with zeros around.

    The zeros on the left of a map are those on the right of the row above. The rows are numbered
    in the type of the places, see :data:`MOST_ROWS`.

    Args:
        sizes (list[tuple[int, int]]): height and width of each level in cells.
        heads (int): rows of a cell.
        points (int): samples of a query, head and level.
        dtype (torch.dtype): of the places.
    """

    def __init__(self, sizes: list, heads: int, points: int, dtype: torch.dtype) -> None:
        self.sizes, self.heads = sizes, heads
        widths = [width + BORDER for _, width in sizes]
        self.begins = [0]
        for (height, _), width in zip(sizes, widths):
            self.begins.append(self.begins[-1] + (height + 2 * BORDER) * width + BORDER)
        firsts = [begin + BORDER + BORDER * width for begin, width in zip(self.begins, widths)]
        #: heads from a cell to itself, the next one, the one below and the one right of that
        self.steps = [[0, heads, heads * width, heads * (width + 1)] for width in widths]

        def of_samples(values):
            return torch.tensor(values, dtype=dtype).repeat_interleave(points, 0)
        self.extents = of_samples([size[::-1] for size in sizes]).flatten()
        self.widths = of_samples(widths) * heads
        self.firsts = of_samples(firsts) * heads + torch.arange(heads, dtype=dtype)[:, None]
        self.neighbours = torch.tensor(self.steps, dtype=torch.int32).T.repeat_interleave(points, 1)

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return self.begins[-1] * self.heads

    def maps(self, table: Tensor) -> Iterator[Tensor]:
        """The maps of a table (rows, C), as views (height, width, heads * C)."""
        cells = table.view(self.begins[-1], -1)
        for begin, (height, width) in zip(self.begins, self.sizes):
            begin += BORDER + BORDER * (width + BORDER)
            level = cells[begin:begin + height * (width + BORDER)]
            yield level.view(height, width + BORDER, -1)[:, :width]

    def levels(self, value: Tensor) -> list[Tensor]:
        """The maps of cells (cells, heads, C), as views (height, width, heads * C)."""
        parts = value.split([height * width for height, width in self.sizes])
        return [part.view(*size, -1) for part, size in zip(parts, self.sizes)]

    def fill(self, value: Tensor) -> Tensor:
        """The table of one image's cells (cells, heads, C)."""
        table = value.new_zeros(self.rows, value.shape[2])
        for place, level in zip(self.maps(table), self.levels(value)):
            place.copy_(level)
        return table


class _Corners:
    """The four cells around samples.

    Args:
        places (Tensor): (queries, heads, levels, points, 2).
        table (Table): that the cells are in.

    Attributes:
        rows (Tensor): of the upper left cells, int32, (queries, heads, samples).
        right, down (Tensor): how far the samples lie from them, in cells; the same shape.
    """

    def __init__(self, places, table):
        places = (places.flatten(2) - .5).clamp_(min=-BORDER)
        torch.minimum(places, table.extents, out=places)
        low = places.floor()
        x, y = low[..., 0::2], low[..., 1::2]
        self.right, self.down = places[..., 0::2] - x, places[..., 1::2] - y
        rows = torch.addcmul(table.firsts, y, table.widths).add_(x, alpha=table.heads)
        # what is no number has a row of the table, too
        self.rows = rows.int().clamp_(0, table.rows - 1 - table.steps[-1][3])

    def bags(self, table):
        """The rows of all corners: int32, (queries * heads, 4 * samples)."""
        return (self.rows[:, :, None] + table.neighbours).flatten(0, 1).flatten(1)

    def weights(self, weights, out):
        """Weights of the corners of samples that have weights (queries, heads, samples) themselves.

        Args:
            out (Tensor): takes them, (4, queries, heads, samples).
        """
        lower = weights * self.down
        upper = weights - lower
        for side, (left, right) in zip((upper, lower), out.unflatten(0, (2, 2))):
            torch.mul(side, self.right, out=right)
            torch.sub(side, right, out=left)


def _chunks(places):
    """Slices of the queries of an image, places (queries, heads, levels, points, 2)."""
    size = max(CHUNK // max(places[:1, ..., 0].numel(), 1), 1)
    return [slice(begin, min(begin + size, len(places)))
            for begin in range(0, len(places), size)]


class _WeightedSamples(Function):

    @staticmethod
    def forward(ctx: Any, value: Tensor, places: Tensor, weights: Tensor, sizes: list) -> Tensor:
        ctx.save_for_backward(value, places, weights)
        ctx.table = table = Table(sizes, value.shape[2], places.shape[4], places.dtype)
        output = value.new_empty(len(value), places.shape[1], value.shape[2] * value.shape[3])
        for image, out in enumerate(output):
            rows_of_table = table.fill(value[image])
            for part in _chunks(places[image]):
                corners = _Corners(places[image, part], table)
                bags = corners.bags(table)
                factors = weights.new_empty(*corners.rows.shape[:2], 4, corners.rows.shape[2])
                corners.weights(weights[image, part].flatten(2), factors.permute(2, 0, 1, 3))
                out[part] = _sums(rows_of_table, bags.flatten(), factors.flatten(), torch.arange(
                    0, bags.numel() + 1, bags.shape[1], dtype=torch.int32)).view_as(out[part])
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        tensors = ctx.saved_tensors
        grads = [torch.empty_like(tensor) if needed else None
                 for tensor, needed in zip(tensors, ctx.needs_input_grad)]
        for image, grad_of_image in enumerate(grad):
            _gradients(grad_of_image, [tensor[image] for tensor in tensors], ctx.table,
                       [one if one is None else one[image] for one in grads])
        return *grads, None


def _gradients(grad, tensors, table, grads):
    """Write the gradients of one image's value, places and weights, where they are not None.

    A sample at (x, y) in its cell, of weight w, adds w v to the output, whose gradient is g, with
    v = (1-y) ((1-x) a + x b) + y ((1-x) c + x d) of the rows at its four corners. So its weight
    gets g.v, and its place w times (1-y) (g.b - g.a) + y (g.d - g.c) and the same between lower
    and upper.
    """
    value, places, weights = tensors
    value_grad, places_grad, weights_grad = grads
    heads, channels = value.shape[1:]
    grad = grad.reshape(-1, channels)
    rows_of_table = None
    if places_grad is not None or weights_grad is not None:
        rows_of_table = table.fill(value)
    rows = torch.empty(*weights.shape[:2], weights[0, 0].numel(), dtype=torch.int32)
    factors = weights.new_empty(4, *rows.shape)
    for part in _chunks(places):
        corners = _Corners(places[part], table)
        rows[part] = corners.rows
        corners.weights(weights[part].flatten(2), factors[:, part])
        if rows_of_table is None:
            continue
        products = row_products(grad[part.start * heads:part.stop * heads], rows_of_table,
                                corners.bags(table))
        upper_left, upper_right, lower_left, lower_right = products.view(
            *corners.rows.shape[:2], 4, -1).unbind(2)
        upper, lower = upper_right - upper_left, lower_right - lower_left
        if places_grad is not None:
            out = places_grad[part].flatten(2)
            torch.lerp(upper, lower, corners.down, out=out[..., 0::2])
        upper.mul_(corners.right).add_(upper_left)
        lower.mul_(corners.right).add_(lower_left)
        if places_grad is not None:
            torch.sub(lower, upper, out=out[..., 1::2])
            out.unflatten(2, (-1, 2)).mul_(weights[part].flatten(2)[..., None])
        if weights_grad is not None:
            torch.lerp(upper, lower, corners.down, out=weights_grad[part].flatten(2))
    if value_grad is not None:
        _value_gradient(grad, rows, factors.flatten(1), table, value_grad)


def _value_gradient(grad, rows, factors, table, out):
    """Write the gradient of the cells, (cells, heads, C).

    The samples are sorted by their upper left cell. The sums of its three neighbours take the same
    order, and are added to their places afterwards.

    Args:
        grad (Tensor): of the output, (queries * heads, C).
        rows (Tensor): of the samples' upper left cells, (queries, heads, samples).
        factors (Tensor): of the samples' corners, (4, queries * heads * samples).
        table (Table): that the rows are of.
    """
    counts = torch.bincount(rows.flatten(), minlength=table.rows)
    begins = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
    bags = torch.arange(len(grad), dtype=torch.int32).repeat_interleave(rows.shape[2])
    order = rows.flatten().sort().indices
    bags = bags.index_select(0, order)
    factors = [corner.index_select(0, order) for corner in factors]
    sums = grad.new_zeros(table.rows, grad.shape[1])
    for begin, end, steps in zip(table.begins, table.begins[1:], table.steps):
        # the last cells, with zeros on the right and below, are no sample's upper left one
        first, last = begin * table.heads, end * table.heads - steps[3]
        samples = slice(int(begins[first]), int(begins[last]))
        bounds = begins[first:last + 1] - begins[first]
        for step, corner in zip(steps, factors):
            sums[first + step:last + step] += _sums(grad, bags[samples], corner[samples], bounds)
    for place, level in zip(table.levels(out), table.maps(sums)):
        place.copy_(level)


def _sums(table, rows, weights, begins):
    """Weighted sums of rows of a table, one for each bag between two neighbours of ``begins``."""
    return torch.embedding_bag(table, rows, begins, mode=0, per_sample_weights=weights,
                               include_last_offset=True)[0]
