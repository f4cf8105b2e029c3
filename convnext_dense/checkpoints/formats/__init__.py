"""The key formats of published weights, each one table of renames.

A table's row holds the format's name of a tensor and the official one, so the same row renames
both ways. ``{s}``, ``{b}``, ``{n}`` stand for a number (stage, block, place), ``{p}`` for weight
or bias. The official ConvNeXt names are this project's names; for Swin, too, the official names
are the common form through which two formats meet.

Sources: the classes of timm, torchvision, transformers and mmpretrain that carry these names,
and the official releases of ConvNeXt (V1, V2) and Swin.
"""
from convnext_dense.checkpoints.formats.renaming import (
    COMPUTED,
    FORMATS,
    LEFTOVERS,
    OUTPUT_NORM,
    fit,
    from_official,
    other_bands,
    recognise,
    recognise_all,
    to_official,
)
from convnext_dense.checkpoints.formats.tables import BACKBONE, Format, Found, Row

__all__ = ['BACKBONE', 'COMPUTED', 'FORMATS', 'LEFTOVERS', 'OUTPUT_NORM', 'Format', 'Found', 'Row',
           'fit', 'from_official', 'other_bands', 'recognise', 'recognise_all', 'to_official']
