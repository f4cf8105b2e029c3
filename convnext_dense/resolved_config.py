"""Resolved configs read as data: nothing that they hold runs.

OpenMMLab keeps a run's resolved config as text, in the work directory and in every checkpoint. It
looks like Python, and mmengine reads it by running it. Here it is parsed, and only literals,
``dict(...)`` and dotted class names are understood. Building a model from data could still run
code: mmengine takes a ``type`` that is in no registry for something to import, mmcv evaluates the
name of an NMS, and some classes read pickles or import from a path. :func:`check_parts` and
:func:`check_data_set` refuse all of it.
"""
import ast
import inspect
import io
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

from mmengine.config import Config

from convnext_dense.config_nodes import nested
from convnext_dense.errors import InputError, convert_errors

LONGEST = 4_000_000  # characters; a config with 80 classes has 20,000
#: packages whose registered classes a model may consist of, in the order of their registries
PACKAGES = ('convnext_dense', 'mmdet', 'mmseg', 'mmpretrain', 'mmcv', 'mmengine')
REGISTRIES = ('MODELS', 'TASK_UTILS', 'TRANSFORMS', 'WEIGHT_INITIALIZERS')
#: what ``type`` means to mmcv's ``batched_nms``, which has no registry
NMS_TYPES = ('nms', 'soft_nms')
PICKLE_SUFFIXES = ('.pkl', '.pickle', '.yaml', '.yml')  # YAML's full reader makes any object, too
CONFIG_SUFFIXES = ('.py', '.json', *PICKLE_SUFFIXES)
#: registered classes that evaluate a text, unpickle a file of any name, or fetch one when they are
#: built or used; a model for prediction needs none of them
RUNNING = frozenset((
    'ATSSVLFusionHead', 'AppearanceFreeLink', 'BertModel', 'CameraMotionCompensation',
    'Detectron2Wrapper', 'KnowledgeDistillationSingleStageDetector', 'LAD',
    'LoadBiomedicalAnnotation', 'LoadBiomedicalData', 'LoadBiomedicalImageFromFile',
    'LoadDepthAnnotation', 'RandomSamplingNegPos', 'TIMMBackbone', 'VPD'))
#: mmpretrain's other rooms fetch models by name, with their code
MMPRETRAIN = ('mmpretrain.models.backbones.', 'mmpretrain.models.utils.')
#: keys of mmengine's file storage, and the kinds that import no module from a path of theirs
STORED, STORAGES = ('backend_args', 'file_client_args'), ('local', 'disk')
METRICS = ('CocoMetric', 'CocoPanopticMetric', 'IoUMetric', 'PanopticMetric', 'VOCMetric')
#: where the annotations of data sets are read as JSON, or as images
DATA_READERS = ('convnext_dense.', 'mmdet.datasets.coco', 'mmdet.datasets.lvis',
                'mmdet.datasets.objects365', 'mmdet.datasets.xml_style',
                'mmseg.datasets.basesegdataset')
ADVICE = 'give the config itself and --weights, if you trust it: it then runs as in training'


def parse_config(text: str, name: str, advice: str = ADVICE) -> Config:
    """Read the text of a resolved config.

    Args:
        text (str): what ``mmengine.Config.pretty_text`` gives.
        name (str): what messages call it.
        advice (str): what to do where it is none.

    Returns:
        Config: its settings.

    Raises:
        InputError: not a resolved config.
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        raise InputError(f'{name} is no text of at most {LONGEST} characters; {advice}')
    try:
        statements = ast.parse(text).body
        settings = {}
        for node in statements:
            if not isinstance(node, ast.Assign) or len(node.targets) != 1 or \
                    not isinstance(node.targets[0], ast.Name):
                raise _refusal(node)
            settings[node.targets[0].id] = _value(node.value)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f'{name} is no resolved config: {reason}; {advice}') from error
    with convert_errors(name, advice):
        return Config(settings)


def _value(node):
    """The value of an expression that computes nothing."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand)
        if isinstance(value, (int, float)):
            return -value
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Set):
        return {_value(item) for item in node.elts}
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return _dict(node)
    if isinstance(node, (ast.Name, ast.Attribute)):
        name = ast.unparse(node)  # a class of a config in mmengine's pure-Python style
        return float(name) if name in ('inf', 'nan') else name
    raise _refusal(node)


def _dict(call):
    """The value of ``dict({...}, key=value, ...)``."""
    values = {}
    for argument in call.args:
        value = _value(argument)
        if not isinstance(value, dict):
            raise _refusal(call)
        values.update(value)
    for keyword in call.keywords:
        if keyword.arg is None:
            raise _refusal(call)
        values[keyword.arg] = _value(keyword.value)
    return values


def _refusal(node):
    return ValueError(f'line {node.lineno} has code: {ast.unparse(node)[:80]!r}')


def check_parts(settings: dict | list, scope: str, name: str, advice: str = ADVICE) -> None:
    """Refuse settings of a model or pipeline whose building would run something unknown.

    Args:
        settings (dict | list): of the model or pipeline.
        scope (str): the config's ``default_scope``.
        name (str): what messages call the config.
        advice (str): what to do where one is refused.

    Raises:
        InputError: a ``type`` that no OpenMMLab package registers, or a text that a library would
            evaluate or read as a config.
    """
    if scope not in PACKAGES:  # mmengine imports the registry of a scope
        raise InputError(f'{name}: default_scope={str(scope)[:80]!r}; known are '
                         f'{", ".join(PACKAGES)}; {advice}')
    for part in nested(settings):
        if part.get('_scope_', scope) not in PACKAGES:
            raise InputError(f'{name}: _scope_={str(part["_scope_"])[:80]!r}; known are '
                             f'{", ".join(PACKAGES)}; {advice}')
        for key, value in part.items():
            if key in STORED and isinstance(value, dict) and value.get(
                    'backend', STORAGES[0]) not in STORAGES:
                raise InputError(f'{name}: {key}={str(value)[:80]}: other storage than local '
                                 f'files runs code; {advice}')
            for text in _texts(value):
                if isinstance(text, bytes) or set(text) & set('([{') or \
                        text.lower().endswith(CONFIG_SUFFIXES):
                    raise InputError(f'{name}: {key}={text[:80]!r} could run code; {advice}')
            if key == 'type' and isinstance(value, str) and value not in NMS_TYPES and \
                    not _is_registered(value, scope):
                raise InputError(f'{name}: type={value[:80]!r} is registered by none of '
                                 f'{", ".join(PACKAGES)}, or may run code; {advice}')


def check_data_set(settings: Any, scope: str, name: str, advice: str = ADVICE) -> None:
    """Refuse settings of a data set whose building or reading would run something.

    Args:
        settings: ``dataset`` of a data loader.
        scope, name, advice (str): as of :func:`check_parts`.

    Raises:
        InputError: it is none whose annotations are JSON or images, it names a file that could be
            a pickle, or its pipeline is refused.
    """
    pipelines: list = []
    rest = _without_pipelines(settings, pipelines)
    check_parts(pipelines, scope, name, advice)
    for part in nested(rest):
        check_parts({key: value for key, value in part.items() if key in (*STORED, '_scope_')},
                    scope, name, advice)
        for key, value in part.items():
            for text in _texts(value):
                if isinstance(text, bytes) or text.lower().endswith(PICKLE_SUFFIXES):
                    raise InputError(f'{name}: {key}={text[:80]!r} could run code; {advice}')
            if key == 'type' and value is not None and not _reads_data(part, scope):
                raise InputError(f'{name}: the data set {str(value)[:80]!r} is none that reads '
                                 f'COCO or label maps; {advice}')


def check_metrics(settings: Any, scope: str, name: str, advice: str = ADVICE) -> None:
    """Refuse metrics other than those that compute figures of objects and label maps.

    Args:
        settings: ``val_evaluator`` or ``test_evaluator``.
        scope, name, advice (str): as of :func:`check_parts`.

    Raises:
        InputError: another metric, or a file that could be a pickle.
    """
    for part in nested(settings):
        kind = part.get('type')
        package, _, metric = str(kind).rpartition('.')
        if (package or scope) not in PACKAGES or metric not in METRICS:
            raise InputError(f'{name}: the metric {str(kind)[:80]!r} is none of '
                             f'{", ".join(METRICS)}; {advice}')
        check_data_set(dict(part, type=None), scope, name, advice)


def _without_pipelines(node, found):
    """A copy of nested settings without their pipelines, which are appended to ``found``."""
    if isinstance(node, dict):
        found += [value for key, value in node.items() if key == 'pipeline']
        return {key: _without_pipelines(value, found) for key, value in node.items()
                if key != 'pipeline'}
    if isinstance(node, (list, tuple)):
        return [_without_pipelines(child, found) for child in node]
    return node


def _texts(value: Any) -> Iterator[str | bytes]:
    """Texts and bytes in a value, but for those of the dicts in it."""
    if isinstance(value, (str, bytes)):
        yield value
    elif isinstance(value, (list, tuple, set)):
        for child in value:
            yield from _texts(child)


def _reads_data(part, scope):
    """Whether a data set reads annotations in a way that is known, or wraps others."""
    if not isinstance(part['type'], str):
        return False
    path, _, name = part['type'].rpartition('.')
    package = path.partition('.')[0] or scope
    found = next((one for one in _registered(package, name, ('DATASETS', ))
                  if _agrees(one, path, name)), None) if package in PACKAGES else None
    reader = getattr(found, 'load_data_list', None)
    if reader is None:
        return found is not None and ('dataset' in part or 'datasets' in part)
    return reader.__module__.startswith(DATA_READERS)


def _is_registered(kind, scope):
    """Whether ``kind`` names a registered class, or a module of ``torch.nn`` or ``mmcv.ops``."""
    path, _, name = kind.rpartition('.')
    package = path.partition('.')[0] or scope
    if kind.startswith('torch.nn.'):
        return _is_module(import_module('torch'), kind.split('.')[1:])
    if not path and _is_module(import_module('mmcv.ops'), [name]):  # what RoI extractors name
        return True
    if package not in PACKAGES or not all(part.isidentifier() for part in kind.split('.')):
        return False
    return any(_agrees(found, path, name) and _only_computes(found)
               for found in _registered(package, name))


def _only_computes(found):
    """Whether no class that a registered one inherits from runs what settings name."""
    bases = getattr(found, '__mro__', (found, ))
    return not any(base.__name__ in RUNNING or base.__module__.startswith('mmpretrain.')
                   and not base.__module__.startswith(MMPRETRAIN) for base in bases)


def _registered(package, name, registries=REGISTRIES):
    """What the registries of a package, and mmengine's above them, hold under ``name``."""
    for scope in (package, 'mmengine'):
        try:
            module = import_module(f'{scope}.registry')
        except ImportError:
            continue
        for attribute in registries:
            registry = getattr(module, attribute, None)
            if registry is None:
                continue
            with redirect_stdout(io.StringIO()):  # lines about packages that nobody needs
                registry.import_from_location()
            for room in getattr(registry, 'rooms', ()):  # of the toolkit: imported by name
                getattr(import_module(f'{scope}.{room}'), name, None)
            if name in registry.module_dict:
                yield registry.module_dict[name]


def _agrees(found, path, name):
    """Whether a dotted path leads to the class that was found under its last name.

    The path is the class's module, or a package above it that has the class under that name, as
    import statements of pure-Python configs name it. Nothing is imported.
    """
    if '.' not in path:
        return True
    above = f'{found.__module__}.'.startswith(f'{path}.')
    return above and getattr(sys.modules.get(path), name, None) is found


def _is_module(package, names):
    import torch
    found = package
    for name in names:
        found = getattr(found, name, None)
    return inspect.isclass(found) and issubclass(found, torch.nn.Module) and \
        found.__module__.startswith(('torch.nn.modules.', 'mmcv.ops.'))
