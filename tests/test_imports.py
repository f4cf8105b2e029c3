"""Which room may import which: arrows go down only; see the map in CONTRIBUTING.md."""
import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / 'convnext_dense'
#: from the top to the ground; a room imports rooms of lower lines only
FLOORS = [
    ['__main__'],
    ['cli'],
    ['commands'],
    ['planning', 'export', 'web'],
    ['analysis'],
    ['prediction'],
    ['runtime'],
    ['checks'],
    ['evaluation'],
    ['datasets', 'checkpoints'],
    ['acceleration'],
    ['detection', 'segmentation', 'optim'],
    ['models'],
    # what every room may import
    ['resolved_config'],
    ['config'],
    ['config_device', 'config_files', 'data_root'],
    ['classes', 'published', 'registry'],
    ['storage'],
    ['file_cache'],
    ['bfloat16_gain', 'command_names', 'config_nodes', 'cores', 'download', 'chunks', 'files',
     'fonts', 'layouts', 'model_wrappers', 'parallel', 'plain_layers', 'wording'],
    ['private'],
    ['errors'],
]


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imported_rooms(path):
    """Rooms that a module imports, anywhere in it; type hints' imports do not count."""
    tree = ast.parse(path.read_text())
    hints = {id(node) for branch in ast.walk(tree) if isinstance(branch, ast.If)
             and 'TYPE_CHECKING' in ast.dump(branch.test) for node in ast.walk(branch)}
    for node in ast.walk(tree):
        if id(node) in hints:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == 'convnext_dense':
            yield from (name.name for name in node.names)
        names = [node.module or ''] if isinstance(node, ast.ImportFrom) else [
            name.name for name in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.startswith('convnext_dense.'):
                yield name.split('.')[1]


def arrows():
    """{(room, imported room): files}"""
    found = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        if path != PACKAGE / '__init__.py' and '.mim' not in path.parts:
            for target in imported_rooms(path):
                if target != room(path) and (PACKAGE / target).exists() | (
                        PACKAGE / f'{target}.py').exists():
                    found.setdefault((room(path), target), set()).add(path.name)
    return found


def floor(name):
    """The line of a room, or None for one that is not on the map."""
    return next((level for level, rooms in enumerate(FLOORS) if name in rooms), None)


def test_arrows_go_down():
    against = {}
    for (source, target), files in arrows().items():
        above, below = floor(source), floor(target)
        if above is None or below is None or above >= below:
            against[source, target] = sorted(files)
    assert not against


def test_every_room_is_on_the_map():
    rooms = {room(path) for path in PACKAGE.rglob('*.py') if '.mim' not in path.parts}
    assert rooms - {'__init__'} == {name for names in FLOORS for name in names}


def test_contributing_has_the_map():
    text = (PACKAGE.parent / 'CONTRIBUTING.md').read_text()
    assert all(re.search(rf'`{name}/?`', text) for names in FLOORS for name in names
               if (PACKAGE / name).is_dir())
