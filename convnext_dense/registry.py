"""The toolkit's registries: scope ``convnext_dense``, children of mmengine's roots.

mmengine imports this module when a config's ``type`` starts with ``convnext_dense.``. A class is
imported, and so registered, when it is first looked up by name, so that no config needs
``custom_imports`` and nothing is imported that no config names.
"""
from importlib import import_module
from typing import Any

from mmengine import registry as root
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.fileio import register_backend

from convnext_dense.storage import FsspecBackend

SCOPE = 'convnext_dense'
# module and distribution, which mmengine must know to read `convnext_dense::upernet/...`
MODULE2PACKAGE.setdefault(SCOPE, SCOPE)
register_backend('fsspec', FsspecBackend)


class LazyRegistry(root.Registry):
    """A registry whose classes are the public names of some packages.

    Args:
        parent (Registry): mmengine's registry of the same kind.
        rooms (Sequence[str]): packages of the toolkit; each lists its names in ``__all__`` and
            imports them lazily.
    """

    def __init__(self, parent: root.Registry, *rooms: str) -> None:
        super().__init__(parent.name, parent=parent, scope=SCOPE,
                         locations=[f'{SCOPE}.{room}' for room in rooms])
        self.rooms = rooms

    def get(self, key: str) -> Any:
        """The class registered as ``key``; see mmengine."""
        name = key.rpartition('.')[2]
        for room in self.rooms:
            package = import_module(f'{SCOPE}.{room}')
            if name in package.__all__:
                getattr(package, name)  # importing its module registers it
        return super().get(key)


MODELS = LazyRegistry(root.MODELS, 'models', 'detection', 'segmentation')
OPTIM_WRAPPERS = LazyRegistry(root.OPTIM_WRAPPERS, 'optim')
TASK_UTILS = LazyRegistry(root.TASK_UTILS, 'detection')
OPTIM_WRAPPER_CONSTRUCTORS = LazyRegistry(root.OPTIM_WRAPPER_CONSTRUCTORS, 'optim')
WEIGHT_INITIALIZERS = LazyRegistry(root.WEIGHT_INITIALIZERS, 'checkpoints')
DATASETS = LazyRegistry(root.DATASETS, 'datasets')
DATA_SAMPLERS = LazyRegistry(root.DATA_SAMPLERS, 'runtime')
TRANSFORMS = LazyRegistry(root.TRANSFORMS, 'datasets')
METRICS = LazyRegistry(root.METRICS, 'evaluation')
FUNCTIONS = LazyRegistry(root.FUNCTIONS, 'analysis.evaluation_report', 'analysis.training_curves')
HOOKS = LazyRegistry(root.HOOKS, 'runtime', 'analysis.run_report')
LOOPS = LazyRegistry(root.LOOPS, 'runtime')
RUNNERS = LazyRegistry(root.RUNNERS, 'runtime')
VISBACKENDS = LazyRegistry(root.VISBACKENDS, 'runtime')
