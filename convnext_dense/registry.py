"""The toolkit's registries: scope ``convnext_dense``, children of mmengine's roots.

mmengine imports this module when a config's ``type`` starts with ``convnext_dense.``, and each
registry imports its own room when something is first looked up in it, so that no config needs
``custom_imports``.
"""
from mmengine import registry as root

SCOPE = 'convnext_dense'


def _child(parent, room):
    return root.Registry(parent.name, parent=parent, scope=SCOPE,
                         locations=[f'{SCOPE}.{room}'])


MODELS = _child(root.MODELS, 'models')
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, 'optim')
WEIGHT_INITIALIZERS = _child(root.WEIGHT_INITIALIZERS, 'checkpoints')
DATASETS = _child(root.DATASETS, 'data')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'runtime')
TRANSFORMS = _child(root.TRANSFORMS, 'data')
METRICS = _child(root.METRICS, 'evaluation')
HOOKS = _child(root.HOOKS, 'runtime')
LOOPS = _child(root.LOOPS, 'runtime')
RUNNERS = _child(root.RUNNERS, 'runtime')
