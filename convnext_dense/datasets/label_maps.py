"""Reading a label map as its file holds it."""
import numpy as np


def read_labels(path: str, backend: str = 'pillow', backend_args: dict | None = None) -> np.ndarray:
    """A label map as stored: all of its range, palettes not expanded.

    Args:
        path (str): the file.
        backend (str): of mmcv, for decoding.
        backend_args (dict, optional): of mmengine's file storage.

    Returns:
        ndarray: shape (height, width) of an integer type.
    """
    import mmcv
    from mmengine import fileio
    stored = mmcv.imfrombytes(fileio.get(path, backend_args=backend_args), flag='unchanged',
                              backend=backend)
    if stored is None:
        raise ValueError('the decoder gives nothing')
    if stored.ndim == 3 and stored.shape[2] == 1:
        stored = stored[..., 0]
    if stored.dtype == bool:
        return stored.astype(np.uint8)
    if stored.dtype.kind == 'f':
        whole = stored.astype(np.int64)
        if not np.array_equal(whole, stored):
            raise ValueError(f'values like {stored[whole != stored][0]:g}; expected whole numbers')
        return whole
    return stored
