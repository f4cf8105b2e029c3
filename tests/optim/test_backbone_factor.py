"""A factor on the backbone's learning rate leaves mmengine's other settings as they are."""
import pytest
from mmengine.optim import build_optim_wrapper
from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.models import ConvNeXt


class Model(nn.Module):
    """A backbone, a query and a head with a norm."""

    def __init__(self):
        super().__init__()
        self.backbone = ConvNeXt(dict(depths=(1, 1, 1, 1), channels=(4, 8, 12, 16)))
        self.query_embed = nn.Embedding(3, 4)
        self.head = nn.Sequential(nn.Conv2d(16, 4, 1), nn.GroupNorm(2, 4))
        self.not_the_backbone = nn.Linear(4, 4)


def settings(paramwise, **optimizer):
    """{parameter name: (lr, weight decay)} as the optimizer holds them."""
    model = Model()
    wrapper = build_optim_wrapper(model, dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', **optimizer),
        constructor='convnext_dense.BackboneFactorOptimizerConstructor', paramwise_cfg=paramwise))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)]: (group['lr'], group['weight_decay'])
            for group in wrapper.optimizer.param_groups for parameter in group['params']}


def test_the_backbone_is_multiplied_and_norms_everywhere_have_no_weight_decay():
    found = settings(dict(
        backbone_lr_factor=.1, norm_decay_mult=0.,
        custom_keys={'query_embed': dict(decay_mult=0.), 'stages.3': dict(lr_mult=.5)}),
        lr=1e-3, weight_decay=.05)
    assert found.keys() == dict(Model().named_parameters()).keys()
    assert found['head.0.weight'] == found['not_the_backbone.weight'] == (1e-3, .05)
    assert found['head.1.weight'] == found['query_embed.weight'] == (1e-3, 0.)
    assert found['backbone.stages.0.0.pwconv1.weight'] == (pytest.approx(1e-4), .05)
    assert found['backbone.stages.0.0.norm.weight'] == (pytest.approx(1e-4), 0.)
    assert found['backbone.downsample_layers.1.0.weight'] == (pytest.approx(1e-4), 0.)
    assert found['backbone.stages.3.0.pwconv1.weight'] == (pytest.approx(5e-5), .05)


@pytest.mark.parametrize('factor', [None, 0, 1.5, '0.1'])
def test_a_factor_that_is_no_share_is_refused(factor):
    with pytest.raises(InputError, match='backbone_lr_factor=.*give a number above 0'):
        settings(dict(backbone_lr_factor=factor), lr=1e-3)


def test_an_optimizer_without_lr_is_refused():
    with pytest.raises(InputError, match='optim_wrapper.optimizer has no lr'):
        settings(dict(backbone_lr_factor=.1))
