"""``report.html`` in a work directory: made again from what lies there, whole or not at all."""
from pathlib import Path

from convnext_dense.analysis.run_report.gathering import gather
from convnext_dense.analysis.run_report.page import page_of
from convnext_dense.files import atomic_write

PAGE = 'report.html'


def write_run_report(work_dir: str | Path, out: str | Path | None = None,
                     running: bool | None = None) -> Path:
    """Write the report of a training.

    Args:
        work_dir (str | Path): of the training.
        out (str | Path, optional): the page; by default ``report.html`` in the work directory.
        running (bool, optional): whether the training still goes on, and the page reloads itself;
            by default the work directory's lock says so.

    Returns:
        Path: the page.

    Raises:
        InputError: no training was there.
        OSError: it cannot be written.
    """
    page = page_of(gather(work_dir, running))
    path = Path(work_dir, PAGE) if out is None else Path(out)
    with atomic_write(path) as partial:
        partial.write_text(page, encoding='utf-8')
    return path
