"""The rows of the comparison with peers: what is compared, and how a row is added.

A module of ``benchmarks/rows_*.py`` adds a row with::

    @row('backbone-v1-inference', 'ConvNeXt-T, inference, 2 x 256x256', peer='mmpretrain', bar=1.15)
    def backbone_v1_inference():
        return {'ours': lambda: Side(...), 'mmpretrain': lambda: Side(...), ...}

The dict maps the name of each side to a function that builds it with the same weights and inputs,
whichever other sides are built; ``ours`` comes first. A function that needs a package which is not
installed raises ``benchmarks.packages.MissingPackage``, and its side is left out.
"""
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

ROWS = {}


class Side(NamedTuple):
    """One of the implementations of a row, built and ready.

    Attributes:
        step (Callable): does the work once; its time is measured.
        outputs (Callable, optional): does the work once and returns what must equal the other
            sides': a dict of tensors, or for values compared in another way anything that the
            row's ``compare`` takes. By default that is ``step``.
    """
    step: Callable
    outputs: Callable | None = None


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        name (str): what the command line calls it.
        title (str): what the table calls it.
        sides (Callable): gives the builders of the sides, ``ours`` first.
        peer (str): the side that ``bar`` refers to.
        bar (float | None): least ratio of the peer's time to ours.
        fastest_bar (float | None): the same against the fastest of all peers.
        tolerance (float): largest difference of the outputs, relative to the largest value of
            each tensor.
        compare (Callable | None): in place of that, takes the outputs of ours and of a peer;
            returns one line that says how they compare, or raises ``Differs``.
    """
    name: str
    title: str
    sides: Callable
    peer: str
    bar: float | None = None
    fastest_bar: float | None = None
    tolerance: float = 1e-4
    compare: Callable | None = None


def row(name, title, peer, **settings):
    """Decorator: add a row; the arguments are those of :class:`Row`."""
    def add(sides):
        ROWS[name] = Row(name, title, sides, peer, **settings)
        return sides
    return add


def load_rows():
    """All rows, in the order of their modules' names."""
    for path in sorted(Path(__file__).parent.glob('rows_*.py')):
        import_module(f'benchmarks.{path.stem}')
    return ROWS
