"""Learning rates by layer, by stage, or by a factor on the backbone; mixed precision on CPUs."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'backbone_factor': ['BackboneFactorOptimizerConstructor'],
    'bfloat16_wrapper': ['Bfloat16OptimWrapper'],
    'constructor': ['LearningRateDecayOptimizerConstructor'],
})
