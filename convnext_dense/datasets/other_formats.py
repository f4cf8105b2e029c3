"""The way out for data in another layout: which importer reads a folder, and the command."""
from itertools import islice
from pathlib import Path
from shlex import quote

from convnext_dense.errors import InputError

MOST_FILES = 20_000  # of a folder that is looked through for its format
READS = 'COCO, YOLO, Pascal VOC, LabelMe, CVAT, colour and index masks'


def import_hint(root: str | Path | None) -> str:
    """What ``convnext-dense new`` can do with a folder, to end an error with.

    Args:
        root: the data set's folder; None or '' where it is not known.

    Returns:
        str: ``; DIR holds YOLO: ...`` where the format is recognised, else the formats.
    """
    from convnext_dense.datasets.importers import FORMATS, recognise
    from convnext_dense.datasets.importers.files import SourceFiles
    command = f'`convnext-dense new PROJECT --data {quote(str(root)) if root else "DIR"}`'
    folder = Path(root) if root else None
    if folder and folder.is_dir() and len(
            list(islice(folder.rglob('*'), MOST_FILES))) < MOST_FILES:
        try:
            title = FORMATS[recognise(SourceFiles(folder))].TITLE
            return f'; {root} holds {title} in another layout, which {command} imports'
        except (InputError, OSError, ValueError):
            pass
    return f'; {command} imports {READS}'
