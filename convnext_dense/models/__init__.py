from convnext_dense.models.convnext import ConvNeXt

__all__ = ['ConvNeXt']
