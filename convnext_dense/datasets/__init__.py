"""Data sets: the embedded one, the benchmarks' files, what a config names."""

__all__: list[str] = []
