"""Drop-in parts of detectors: same arguments and values as mmdet's, in less time on a CPU."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'instance_tta': ['InstanceTTAModel'],
    'mask2former': ['Mask2Former', 'MaskFormerFusionHead'],
    'mask2former_head': ['Mask2FormerHead'],
    'match_costs': ['CrossEntropyLossCost'],
    'seg_mask2former_head': ['SegMask2FormerHead'],
    'mask_head': ['FCNMaskHead'],
    'roi_align': ['RoIAlign'],
    'roi_extractor': ['SingleRoIExtractor'],
    'roi_heads': ['CascadeRoIHead', 'StandardRoIHead'],
    'rpn_head': ['RPNHead'],
})
