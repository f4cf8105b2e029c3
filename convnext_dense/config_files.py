"""The configs that the package carries, and the file that a name means.

They are written in the folder ``configs`` of the clone. A wheel holds them as
``convnext_dense/.mim/configs``, where mmengine looks for ``_base_ = 'convnext_dense::...'``.
"""
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from convnext_dense.errors import InputError

FOLDER = Path(__file__).parent / '.mim' / 'configs'
PREFIX = 'convnext_dense::'


@cache
def config_names() -> dict[str, Path]:
    """Every whole config of the package.

    Returns:
        dict[str, Path]: the file's name without ``.py``, and the file; in the order of the folders.
    """
    files = sorted(path for path in FOLDER.glob('*/*.py') if path.parent.name != '_base_')
    return {path.stem: path for path in files}


def find_config(name: str | Path) -> Path:
    """The config file that a user means.

    Args:
        name: a path; or a config of the package as ``NAME``, ``FOLDER/NAME``,
            ``configs/FOLDER/NAME`` or ``convnext_dense::FOLDER/NAME``, with or without ``.py``; or
            the name of a published detector or segmenter, for the config that its weights fit.

    Raises:
        InputError: there is no such file and no such config; the message names similar ones.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    names, wanted = config_names(), Path(str(name).removeprefix(PREFIX))
    stem = wanted.name.removesuffix('.py')
    if stem in names:
        folder = names[stem].parent.name
        if wanted.parent.as_posix() in ('.', folder, f'configs/{folder}'):
            return names[stem]
    import yaml
    index = yaml.safe_load((FOLDER / 'metafile.yml').read_text(encoding='utf-8'))
    fitting = {model['Name']: model['Config'] for model in index['Models']}
    if str(name) in fitting:
        return FOLDER.parent / fitting[str(name)]
    close = get_close_matches(stem, [*names, *fitting], n=3)
    hint = f'similar: {", ".join(close)}' if close else '`convnext-dense list configs` names them'
    raise InputError(f'config {name}: no such file, and the package has no config of that name; '
                     f'{hint}')
