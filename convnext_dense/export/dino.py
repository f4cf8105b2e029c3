"""DINO as one network: from images to boxes, scores and classes."""
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.export.detector import clip, describe_objects
from convnext_dense.export.layers import first_layer

Shapes = Sequence[tuple[int, int]]


class TransformerNetwork(nn.Module):
    """DINO (arXiv 2203.03605), as mmdet computes it for images of one size, without padding.

    Inputs and outputs are those of :class:`.detector.TwoStageNetwork` without masks; each image has
    as many objects as ``test_cfg.max_per_img`` says.

    Args:
        model (nn.Module): ``DINO`` of mmdet, in evaluation mode.
        normalise (bool): ``images`` are uint8 in BGR order, which are normalised inside.

    Raises:
        InputError: a part of the model does something that this does not know.
    """

    def __init__(self, model: Any, normalise: bool):
        super().__init__()
        check(model)
        self.model = model
        self.normalise = first_layer(model, normalise)
        self.least_side = least_side(model)
        for part in (model.encoder, model.decoder):
            use_deformable_attention(part)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        height, width = images.shape[2:]
        images = self.normalise(images)
        model = self.model
        maps = model.extract_feat(images)
        shapes = [(one.shape[2], one.shape[3]) for one in maps]
        memory = self._encode(maps, shapes)
        query, references = self._choose(memory, shapes)
        whole = memory.new_ones(memory.shape[0], len(shapes), 2)  # no part of the maps is padding
        states, references = model.decoder(
            query=query, value=memory, key_padding_mask=None, self_attn_mask=None,
            reference_points=references, spatial_shapes=shapes, level_start_index=None,
            valid_ratios=whole, reg_branches=model.bbox_head.reg_branches)
        logits, boxes = (outputs[-1] for outputs in model.bbox_head(states, list(references)))
        classes = logits.shape[2]
        number = min(self.most, logits.shape[1] * classes)
        scores, index = logits.sigmoid().flatten(1).topk(number, dim=1)
        place = torch.div(index, classes, rounding_mode='floor')
        boxes = boxes.gather(1, place[:, :, None].expand(-1, -1, 4))
        centres, sides = boxes.split(2, dim=2)
        scale = torch.cat([boxes.new_full((1, ), 1.) * side for side in (width, height)])
        corners = torch.cat([(centres - sides / 2) * scale, (centres + sides / 2) * scale], 2)
        image = torch.arange(images.shape[0])[:, None].expand(-1, number)
        return (clip(corners.flatten(0, 1), height, width), scores.flatten(),
                (index - place * classes).flatten(), image.flatten())

    @property
    def most(self) -> int:
        """Objects of an image."""
        return self.model.bbox_head.test_cfg.get('max_per_img', self.model.num_queries)

    def _encode(self, maps, shapes):
        """The encoder's tokens (N, T, C) of all levels, one after the other."""
        model = self.model
        tokens = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], 1)
        places = torch.cat([
            model.positional_encoding(None, input=one).flatten(2).transpose(1, 2)
            + model.level_embed[level] for level, one in enumerate(maps)], 1)
        centres = torch.cat([_centres(*shape) for shape in shapes])
        references = centres[None, :, None].expand(tokens.shape[0], -1, len(shapes), 2)
        for layer in model.encoder.layers:
            tokens = layer(query=tokens, query_pos=places, key_padding_mask=None,
                           spatial_shapes=shapes, reference_points=references)
        return tokens

    def _choose(self, memory, shapes):
        """The decoder's queries (N, Q, C) and first boxes (N, Q, 4): those of the best tokens."""
        model = self.model
        head, last = model.bbox_head, model.decoder.num_layers
        boxes = torch.cat([torch.cat([_centres(*shape), memory.new_full(
            (shape[0] * shape[1], 2), .05 * 2.**level)], 1) for level, shape in enumerate(shapes)])
        inside = ((boxes > .01) & (boxes < .99)).all(1, keepdim=True)
        boxes = torch.log(boxes / (1 - boxes)).masked_fill(~inside, float('inf'))
        found = model.memory_trans_norm(model.memory_trans_fc(memory.masked_fill(~inside, 0.)))
        scores = head.cls_branches[last](found).amax(2)
        best = scores.topk(model.num_queries, dim=1)[1][:, :, None].expand(-1, -1, 4)
        boxes = (head.reg_branches[last](found) + boxes).gather(1, best)
        query = model.query_embedding.weight[None].expand(memory.shape[0], -1, -1)
        return query, boxes.sigmoid()


class DeformableAttention(nn.Module):
    """mmcv's multi-scale deformable attention with bilinear sampling, for maps of any size.

    Args:
        layer (nn.Module): mmcv's ``MultiScaleDeformableAttention``, in evaluation mode.
    """

    def __init__(self, layer: Any):
        super().__init__()
        self.layer = layer

    def forward(self, query: Tensor, value: Tensor, query_pos: Tensor, reference_points: Tensor,
                spatial_shapes: Shapes, identity: Tensor | None = None, **kwargs: Any) -> Tensor:
        """As mmcv's; ``spatial_shapes`` are height and width of the levels as numbers."""
        layer = self.layer
        identity = query if identity is None else identity
        query = query + query_pos
        batch, queries, _ = query.shape
        heads, levels, points = layer.num_heads, layer.num_levels, layer.num_points
        values = layer.value_proj(value).unflatten(2, (heads, -1)).permute(0, 2, 3, 1)
        offsets = layer.sampling_offsets(query).view(batch, queries, heads, levels, points, 2)
        weights = layer.attention_weights(query).view(batch, queries, heads, levels * points)
        weights = weights.softmax(-1).unflatten(3, (levels, points))
        begin, parts = 0, []
        for level, (height, width) in enumerate(spatial_shapes):
            count = height * width
            maps = values[..., begin:begin + count].unflatten(3, (height, width)).flatten(0, 1)
            begin = begin + count
            reference = reference_points[:, :, None, level, None]
            offset = offsets[:, :, :, level]
            if reference.shape[-1] == 2:
                sides = torch.cat([offset.new_full((1, ), 1.) * side for side in (width, height)])
                places = reference + offset / sides
            else:
                places = reference[..., :2] + offset / points * reference[..., 2:] * .5
            grid = (2 * places - 1).transpose(1, 2).flatten(0, 1)
            sampled = F.grid_sample(maps, grid, mode='bilinear', padding_mode='zeros',
                                    align_corners=False)
            share = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
            parts.append((sampled * share).sum(-1))
        found = sum(parts[1:], parts[0]).unflatten(0, (batch, heads)).flatten(1, 2).transpose(1, 2)
        return layer.output_proj(found) + identity


def _centres(height, width):
    """Centres of the cells of a map, x and y in [0, 1], row by row: (H * W, 2)."""
    rows, columns = ((torch.arange(side) + .5) / side for side in (height, width))
    return torch.stack([columns[None].expand(height, -1), rows[:, None].expand(-1, width)],
                       2).flatten(0, 1)


def use_deformable_attention(module: nn.Module) -> None:
    """Put :class:`DeformableAttention` in the place of mmcv's, in place."""
    from mmcv.ops import MultiScaleDeformableAttention
    for part in list(module.modules()):
        for name, child in part.named_children():
            if type(child) is MultiScaleDeformableAttention:
                setattr(part, name, DeformableAttention(child))


def least_side(model: Any) -> int:
    """The least side, in steps of 32, of square images with as many cells as there are queries.

    All maps have two rows then: torch.export makes a case of its own of one.
    """
    for side in range(64, 4096, 32):
        with torch.no_grad():
            maps = model.extract_feat(torch.zeros(1, 3, side, side))
        sides = [one.shape[2] for one in maps]
        if min(sides) > 1 and sum(cells**2 for cells in sides) >= model.num_queries:
            return side
    raise InputError(f'num_queries={model.num_queries}: no image has so many cells; lower it')


def check(model: Any) -> None:
    """Refuse a detector that :class:`TransformerNetwork` would compute in another way than mmdet.

    Raises:
        InputError: the part that is not known.
    """
    from mmcv.ops import MultiScaleDeformableAttention
    from mmdet.models.dense_heads import DINOHead
    from mmdet.models.detectors import DINO
    head: Any = getattr(model, 'bbox_head', None)
    if type(model) is not DINO or type(head) is not DINOHead:
        raise InputError(f'{type(model).__name__} with {type(head).__name__}: of transformers, '
                         'DINO is exported')
    if not head.loss_cls.use_sigmoid:
        raise InputError('bbox_head.loss_cls.use_sigmoid=False: DINO is exported with sigmoid '
                         'scores')
    if model.data_preprocessor.pad_size_divisor > 1:
        raise InputError(f'data_preprocessor.pad_size_divisor='
                         f'{model.data_preprocessor.pad_size_divisor}: DINO is exported for '
                         'images without padding; set it to 1')
    kinds = {type(layer.self_attn) for layer in model.encoder.layers} | {
        type(layer.cross_attn) for layer in model.decoder.layers}
    if kinds != {MultiScaleDeformableAttention}:
        names = ', '.join(sorted(kind.__name__ for kind in kinds))
        raise InputError(f'the attention of encoder and decoder is {names}; '
                         'MultiScaleDeformableAttention is exported')


def describe(network: TransformerNetwork) -> dict:
    """What a card says of the network: ``inputs``, ``outputs`` and ``network``."""
    return dict(describe_objects(network), network=dict(least_side=network.least_side))
