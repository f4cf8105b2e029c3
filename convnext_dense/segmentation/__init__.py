"""Drop-in parts of segmenters: same arguments and values as mmseg's, in less time."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'encoder_decoder': ['EncoderDecoder', 'SegTTAModel'],
    'linear_head': ['LinearHead'],
    'uper_head': ['UPerHead'],
})
