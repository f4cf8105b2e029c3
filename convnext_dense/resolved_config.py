"""Resolved configs read as data: nothing that they hold runs.

OpenMMLab keeps a run's resolved config as text, in the work directory and in every checkpoint. It
looks like Python, and mmengine reads it by running it. Here it is parsed, and only literals,
``dict(...)`` and dotted class names are understood. Building a model from data could still run
code: mmengine takes a ``type`` that is in no registry for something to import, mmcv evaluates the
name of an NMS, and mmdet reads a teacher's config file. :func:`check_parts` refuses all of it.
"""
import ast
import inspect
import io
import sys
from contextlib import redirect_stdout
from importlib import import_module

from mmengine.config import Config

from convnext_dense.config_nodes import nested
from convnext_dense.errors import InputError, convert_errors

LONGEST = 4_000_000  # characters; a config with 80 classes has 20,000
#: packages whose registered classes a model may consist of, in the order of their registries
PACKAGES = ('convnext_dense', 'mmdet', 'mmseg', 'mmpretrain', 'mmcv', 'mmengine')
REGISTRIES = ('MODELS', 'TASK_UTILS', 'TRANSFORMS', 'WEIGHT_INITIALIZERS')
#: what ``type`` means to mmcv's ``batched_nms``, which has no registry
NMS_TYPES = ('nms', 'soft_nms')
CONFIG_SUFFIXES = ('.py', '.yaml', '.yml', '.json', '.pkl', '.pickle')
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
            if not isinstance(value, str):
                continue
            if '(' in value or value.lower().endswith(CONFIG_SUFFIXES):
                raise InputError(f'{name}: {key}={value[:80]!r} could run code; {advice}')
            if key == 'type' and value not in NMS_TYPES and not _is_registered(value, scope):
                raise InputError(f'{name}: type={value[:80]!r} is registered by none of '
                                 f'{", ".join(PACKAGES)}; {advice}')


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
    return any(_agrees(found, path, name) for found in _registered(package, name))


def _registered(package, name):
    """What the registries of a package, and mmengine's above them, hold under ``name``."""
    for scope in (package, 'mmengine'):
        try:
            module = import_module(f'{scope}.registry')
        except ImportError:
            continue
        for attribute in REGISTRIES:
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
    return inspect.isclass(found) and issubclass(found, torch.nn.Module)
