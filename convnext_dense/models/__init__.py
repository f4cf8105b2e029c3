from convnext_dense.models.convnext import ConvNeXt
from convnext_dense.models.instance_tta import InstanceTTAModel
from convnext_dense.models.roi_align import RoIAlign
from convnext_dense.models.roi_extractor import SingleRoIExtractor
from convnext_dense.models.swin import build_swin

__all__ = ['ConvNeXt', 'InstanceTTAModel', 'RoIAlign', 'SingleRoIExtractor', 'build_swin']
