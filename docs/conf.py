"""The documentation site: ``make docs`` builds it, and fails at a warning or a dead link."""
import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import convnext_dense  # noqa: E402

project = 'convnext_dense'
release = version = convnext_dense.__version__
author = 'the convnext_dense authors'
project_copyright = author

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx_copybutton']
myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 3
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = 'convnext_dense'
html_static_path: list[str] = []
copybutton_prompt_text = r'\$ |>>> '
copybutton_prompt_is_regexp = True

autodoc_member_order = 'alphabetical'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
# inherited docstrings of mmengine, mmdet and torch are their own
autodoc_default_options = {'members': True, 'imported-members': True, 'inherited-members': False}
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
suppress_warnings = ['ref.python', 'myst.header']

#: packages whose public names, those in ``__all__``, are the API reference
ROOMS = {
    'convnext_dense': 'The names that most people need',
    'convnext_dense.models': 'Backbones',
    'convnext_dense.detection': 'Parts of detectors',
    'convnext_dense.segmentation': 'Parts of segmenters',
    'convnext_dense.acceleration': 'The same values in less time',
    'convnext_dense.optim': 'Learning rates and mixed precision',
    'convnext_dense.checkpoints': 'Weights',
    'convnext_dense.datasets': 'Data sets and transforms',
    'convnext_dense.evaluation': 'Metrics',
    'convnext_dense.prediction': 'Prediction',
    'convnext_dense.export': 'Export',
    'convnext_dense.runtime': 'Runner, loops and hooks',
    'convnext_dense.analysis.run_report': 'The report of a training'}


def elsewhere(room: str) -> list[str]:
    """Public names of a package that are documented on another room's page, by their full names."""
    package = importlib.import_module(room)
    found = []
    for name in package.__all__ if room == 'convnext_dense' else ():
        home = getattr(getattr(package, name), '__module__', '')
        rooms = [other for other in ROOMS if other != room and home.startswith(f'{other}.')
                 and name in importlib.import_module(other).__all__]
        if rooms:
            found.append(f'{home}.{name}')
    return found


def write_api(app) -> None:
    """One page for each room; rewritten only where it changed, so that a build stays quick."""
    folder = Path(app.srcdir) / 'api'
    folder.mkdir(exist_ok=True)
    pages = {'index': '\n'.join([
        '# API reference', '', '```{toctree}', *ROOMS, '```', ''])}
    for room, title in ROOMS.items():
        others = elsewhere(room)
        left_out = ', '.join(name.rpartition('.')[2] for name in others)
        pages[room] = '\n'.join([
            f'# {title}', '', f'`{room}`', '', *(f'- {{py:obj}}`~{name}`' for name in others), '',
            '```{eval-rst}', f'.. automodule:: {room}',
            *([f'   :exclude-members: {left_out}'] if others else []), '```', ''])
    for name, text in pages.items():
        path = folder / f'{name}.md'
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)


def setup(app) -> None:
    app.connect('builder-inited', write_api)
