"""The only place that changes the state of the whole process, called by the commands only.

Importing the package, building a model or using it from Python changes none of this:

- mmengine's ``CheckpointLoader`` reads every file by this package's reader, which runs no code;
- on a CPU glibc's malloc keeps the memory that training frees after a step, where that is asked
  for.

The devices that the process sees are set before, by ``options.choose_device``; torch's threads by
``convnext-dense benchmark --threads``; those of OpenCV in data workers by the workers themselves.
"""


def set_up_process(device: str, keep_memory: bool = True) -> None:
    """Set what holds for the whole process.

    Args:
        device (str): ``cpu`` or ``cuda``.
        keep_memory (bool): whether malloc keeps freed memory on a CPU.
    """
    from convnext_dense.acceleration.cpu.allocator import keep_freed_memory
    from convnext_dense.checkpoints import read_safely_in_mmengine
    read_safely_in_mmengine()
    if device == 'cpu' and keep_memory:
        keep_freed_memory()
