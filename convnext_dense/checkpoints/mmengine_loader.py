"""mmengine's own loading of checkpoints, made safe: the commands do it once, for their process."""
from typing import Any

from mmengine.runner import CheckpointLoader

from convnext_dense.checkpoints.fetching import locate
from convnext_dense.checkpoints.reading import read_checkpoint


def read_safely_in_mmengine() -> None:
    """Make every load of mmengine in this process go through :func:`read_checkpoint`.

    mmengine falls back to full unpickling when its safe reader refuses a file, in
    ``init_cfg=dict(type='Pretrained')``, ``load_checkpoint`` and ``resume`` alike. All of them
    ask its CheckpointLoader, which lets loaders be replaced.
    """
    CheckpointLoader.register_scheme(list(CheckpointLoader._schemes), load_from_safe_reader,
                                     force=True)


def load_from_safe_reader(filename: str, map_location: Any = None) -> dict[str, Any]:
    """What mmengine calls; it logs the part of the name after ``load_from_``."""
    return read_checkpoint(locate(filename), map_location)
