"""Computing the wide maps of a block in parts that stay in the processor's cache."""
import threading

import torch

#: values of a part: 3 MB in float32, within a level 3 cache
PART = 3 * 2**18
#: values that a thread keeps memory for
MOST_SCRATCH = 4 * PART
_THREAD = threading.local()


def rows_of_a_part(width):
    """How many rows of so many values a part holds."""
    return max(PART // width, 1)


def parts(rows, width):
    """Slices of ``rows`` pixels whose maps of ``width`` channels take one part each."""
    size = rows_of_a_part(width)
    return [slice(begin, min(begin + size, rows)) for begin in range(0, rows, size)]


def scratch(rows, width, dtype=torch.float32):
    """Memory for maps of shape (rows, width), kept by a thread if float32 of 12 MB or less.

    It holds whatever was left in it, and the next call may return the same memory. New memory
    costs a page fault for every 4 KB, together a tenth of the time of a backbone.
    """
    size = rows * width
    if size > MOST_SCRATCH or dtype != torch.float32:
        return torch.empty(rows, width, dtype=dtype)
    if len(getattr(_THREAD, 'scratch', ())) < size:
        with torch.inference_mode(False):  # else nothing could be written to it outside of it
            _THREAD.scratch = torch.empty(size)
    return _THREAD.scratch[:size].view(rows, width)
