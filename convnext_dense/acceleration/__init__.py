"""The same values in less time: forms for a CPU and a GPU behind one door, ``prepare``."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'preparation': ['prepare'],
    'settings': ['Acceleration'],
})
