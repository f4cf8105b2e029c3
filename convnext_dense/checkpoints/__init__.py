"""Published weights: every key format, read safely, loaded with a report."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'formats': ['FORMATS', 'recognise'],
    'loading': ['LoadReport', 'load_weights'],
    'mmengine_loader': ['read_safely_in_mmengine'],
    'pretrained': ['Pretrained'],
    'reading': ['read_checkpoint'],
    'state_dicts': ['state_dict_of'],
    'fetching': ['locate'],
})
