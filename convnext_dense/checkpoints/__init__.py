"""Published weights: every key format, read safely, loaded with a report."""
from convnext_dense.checkpoints.formats import FORMATS, recognise
from convnext_dense.checkpoints.loading import LoadReport, Pretrained, load_weights, state_dict_of
from convnext_dense.checkpoints.reading import read_checkpoint, read_safely_in_mmengine

__all__ = ['FORMATS', 'LoadReport', 'Pretrained', 'load_weights', 'read_checkpoint',
           'read_safely_in_mmengine', 'recognise', 'state_dict_of']
