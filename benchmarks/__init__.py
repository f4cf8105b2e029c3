"""Measurements of speed and memory, each printed by `python -m benchmarks.NAME`."""
