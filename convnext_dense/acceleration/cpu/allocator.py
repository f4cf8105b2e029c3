"""Memory of maps that training frees after each step and needs again in the next."""
import ctypes
import os
import sys

# parameters of mallopt(3)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: larger tensors are returned: what their memory is split into, they do not fit again
LARGEST = 32 * 2**20


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep the memory that this process frees, for what it allocates next.

    By default much of it goes back to the system. To get it again costs a page fault for every
    4 KB, together 14 % of the Penn-Fudan example's training step. Tensors of more than 32 MB are
    returned as before, else UperNet's peak memory would grow by a quarter. Nothing is changed
    where the user chose malloc's settings by environment variables, and with other C libraries.

    Returns:
        bool: whether malloc does so now.
    """
    if sys.platform != 'linux' or any(
            name.startswith('MALLOC_') or name == 'GLIBC_TUNABLES' for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    return mallopt is not None and all([
        mallopt(M_MMAP_THRESHOLD, LARGEST) == 1, mallopt(M_TRIM_THRESHOLD, 2**31 - 1) == 1])
