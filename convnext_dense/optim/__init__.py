"""Learning rates by layer, by stage, or by a factor on the backbone."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'backbone_factor': ['BackboneFactorOptimizerConstructor'],
    'constructor': ['LearningRateDecayOptimizerConstructor'],
})
