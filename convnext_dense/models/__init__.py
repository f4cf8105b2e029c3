from importlib import import_module

from convnext_dense.models.convnext import ConvNeXt
from convnext_dense.models.instance_tta import InstanceTTAModel
from convnext_dense.models.roi_align import RoIAlign
from convnext_dense.models.roi_extractor import SingleRoIExtractor
from convnext_dense.models.swin import build_swin
from convnext_dense.registry import MODELS

__all__ = ['ConvNeXt', 'InstanceTTAModel', 'RoIAlign', 'SingleRoIExtractor', 'build_swin']


def _register_later(name, module):
    """Register a class whose module is imported once it is built: mmdet and mmseg take seconds."""
    def build(*args, **kwargs):
        return getattr(import_module(module), name)(*args, **kwargs)
    MODELS.register_module(name=name, module=build)


for _name, _module in dict(
        CascadeRoIHead='roi_heads', StandardRoIHead='roi_heads', FCNMaskHead='mask_head',
        RPNHead='rpn_head', EncoderDecoder='encoder_decoder', SegTTAModel='encoder_decoder',
        UPerHead='uper_head').items():
    _register_later(_name, f'{__name__}.{_module}')
