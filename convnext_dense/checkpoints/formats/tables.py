"""What a table of renames is made of, and how layouts of the same values differ."""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

#: what stands for a number (stage, block, place) and for weight or bias in a row
FIELDS = {'s': r'\d+', 'b': r'\d+', 'n': r'\d+', 'p': 'weight|bias'}
BACKBONE = 'backbone.'


class Row(NamedTuple):
    """One rename: their name, the official name, and how the values are laid out again."""
    theirs: str
    official: str
    read: Callable = lambda tensor: tensor
    write: Callable | None = lambda tensor: tensor  # None: only read, never written


class Format(NamedTuple):
    """One way to name the tensors of one family of backbones.

    Attributes:
        name (str): what the report and ``--to`` call it.
        family (str): convnext, swin or resnet; only formats of one family fit each other.
        signature (str): regular expression of a key that only this format has.
        rows (tuple[Row]): the renames.
        head (str): name of the classification head where it stands outside the backbone.
        prefix (Callable): official keys -> prefix of the backbone in a file of this format.
    """
    name: str
    family: str
    signature: str
    rows: tuple
    head: str = ''
    prefix: Callable = lambda keys: ''


class Found(NamedTuple):
    """A format recognised in the keys of a file or model, and the prefix of its backbone."""
    format: Format
    prefix: str

    @property
    def root(self) -> str:
        """What stands before ``backbone.``, ``neck.``, ``decode_head.`` and so on."""
        return self.prefix[:-len(BACKBONE)] if self.prefix.endswith(BACKBONE) else self.prefix


def same(*names: str) -> tuple[Row, ...]:
    """Rows of names that a format shares with the official release."""
    return tuple(Row(name, name) for name in names)


def flat(rank: int) -> Callable[[Tensor], Tensor]:
    """GRN and layer scale: C values whose shape has ``rank`` dimensions, the last C long."""
    return lambda tensor: tensor.reshape((1, ) * (rank - 1) + (-1, ))


def column(tensor: Tensor) -> Tensor:
    """Layer scale as torchvision has it: (C, 1, 1)."""
    return tensor.reshape(-1, 1, 1)


def linear(tensor: Tensor) -> Tensor:
    """A pointwise weight, which some models hold as a 1x1 convolution's, as a linear layer's."""
    return tensor.flatten(1) if tensor.ndim == 4 else tensor


def read_kernel(tensor: Tensor) -> Tensor:
    """A sparse convolution's kernel (K*K, [in,] out) as a dense one (out, in or 1, K, K).

    The sparse layout counts the places of the kernel column by column.
    """
    size = round(tensor.shape[0] ** .5)
    if tensor.ndim == 2:  # depthwise
        tensor = tensor.unsqueeze(1)
    return tensor.permute(2, 1, 0).unflatten(-1, (size, size)).transpose(-2, -1)


def write_kernel(tensor: Tensor) -> Tensor:
    """The other way of :func:`read_kernel`."""
    tensor = tensor.transpose(-2, -1).flatten(-2).permute(2, 1, 0)
    return (tensor.squeeze(1) if tensor.shape[1] == 1 else tensor).contiguous()


def pattern(template: str) -> re.Pattern[str]:
    """The regular expression of a row's name, its fields as groups."""
    parts = re.split(r'\{(\w)\}', template)
    return re.compile(''.join(f'(?P<{part}>{FIELDS[part]})' if place % 2 else re.escape(part)
                              for place, part in enumerate(parts)))
