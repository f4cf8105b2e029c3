"""What differs from mmdet's Swin, whose values tests/checkpoints holds it to."""
import pytest
import torch
from mmdet.models import SwinTransformer as Peer

from convnext_dense.models.swin import SwinTransformer

SMALL = dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=3)


@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (0, 1, 2), (1, )])
def test_what_expects_a_gradient_gets_one(out_indices):
    model = SwinTransformer(**SMALL, out_indices=out_indices)  # in training mode
    sum(map(torch.sum, model(torch.randn(1, 3, 64, 64)))).backward()
    assert not [name for name, parameter in model.named_parameters()
                if (parameter.grad is not None) != parameter.requires_grad]
    assert model.state_dict().keys() == Peer(**SMALL, out_indices=out_indices).state_dict().keys()
