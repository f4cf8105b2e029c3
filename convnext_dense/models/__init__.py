"""The models in plain torch: ConvNeXt and its layers, and mmdet's Swin with safe reading."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'architectures': ['ARCHITECTURES'],
    'convnext': ['ConvNeXt'],
    'layers': ['GRN', 'LayerNorm2d'],
    'swin': ['SwinTransformer'],
})
