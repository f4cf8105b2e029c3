"""Which files of a work directory are checkpoints of the toolkit, and how they are named inside.

A checkpoint and the pointer ``last_checkpoint`` name other checkpoints. They come from a file, so
they are trusted only where they name a file of the toolkit's own pattern, inside of the folder
after resolving links: whatever else they hold is never read, followed or removed.
"""
import os
import re
from pathlib import Path

from convnext_dense.errors import InputError

POINTER = 'last_checkpoint'  # the file that names the newest
TEMPLATES = ('epoch_{}.pth', 'iter_{}.pth')


class CheckpointFolder:
    """The folder of a run's checkpoints.

    Args:
        folder: where they are.
        template: the hook's ``filename_tmpl``, if it is not mmengine's.
    """

    def __init__(self, folder: str | Path, template: str | None = None) -> None:
        self.folder = Path(folder)
        templates = {*TEMPLATES, template or TEMPLATES[0]}
        names = '|'.join(r'\d+'.join(re.escape(part) for part in re.split(r'\{[^{}]*\}', one))
                         for one in sorted(templates))
        self._name = re.compile(rf'(best_[^/\\]+_)?({names})')

    def find(self, name: object) -> Path | None:
        """The path of a checkpoint from its name, or None where it names no checkpoint in here.

        Args:
            name: a file name; a path (of earlier versions) is taken if it leads into this folder.
        """
        if not isinstance(name, str) or '\0' in name:
            return None
        path = self.folder / name
        if not self._name.fullmatch(path.name):
            return None
        try:
            inside = path.resolve().parent == self.folder.resolve()
        except (OSError, RuntimeError):  # links in a circle
            return None
        return self.folder / path.name if inside else None

    def checkpoints(self) -> list[Path]:
        """The files in here that bear a checkpoint's name and are no links to elsewhere."""
        try:
            names = sorted(os.listdir(self.folder))
        except OSError:
            return []
        found = (self.find(name) for name in names)
        return [path for path in found if path is not None and path.is_file()]

    def remove(self, name: object) -> bool:
        """Remove a checkpoint; whether there was one of this name."""
        path = self.find(name)
        if path is None or not path.is_file():
            return False
        path.unlink()
        return True


def checkpoint_folder(cfg: dict, work_dir: str) -> CheckpointFolder:
    """The folder that a config's checkpoint hook writes to, as mmengine composes it."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    settings = hook if isinstance(hook, dict) else {}
    out_dir, template = settings.get('out_dir'), settings.get('filename_tmpl')
    folder = work_dir
    if out_dir and out_dir != work_dir:
        folder = os.path.join(out_dir, os.path.basename(os.path.normpath(work_dir)))
    return CheckpointFolder(folder, template)


def read_pointer(pointer: Path, checkpoints: CheckpointFolder) -> tuple[Path | None, str | None]:
    """The checkpoint that a pointer file names.

    Returns:
        its path or None, and a line where it leads out of the checkpoints' folder.
    """
    if not pointer.is_file():
        return None, None
    try:
        text = pointer.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None, None
    if not text or '\0' in text:
        return None, None
    target = pointer.parent / text
    try:
        inside = target.resolve().parent == checkpoints.folder.resolve()
    except (OSError, RuntimeError):
        inside = False
    if inside:
        return checkpoints.find(target.name), None
    return None, (f'{pointer} names {text!r}, which is no checkpoint in {checkpoints.folder}: it '
                  'is not followed')


def refuse_pointer(line: str) -> InputError:
    """The error where a pointer leads out and nothing else is there to resume."""
    return InputError(f'{line}, and no other is there; name the checkpoint with --resume PATH, or '
                      'remove the pointer to start from the beginning')
