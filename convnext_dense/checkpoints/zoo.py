"""Where published weights are."""
from pathlib import Path


def locate(source):
    return Path(source)
