"""Computing the wide maps of a block in chunks that stay in the processor's cache."""

#: values of a chunk: 4 MB in float32, within a level 3 cache
CHUNK_VALUES = 2**20


def rows_of_a_chunk(width: int) -> int:
    """How many rows of so many values a part holds."""
    return max(CHUNK_VALUES // width, 1)


def chunks(rows: int, width: int) -> list[slice]:
    """Slices of ``rows`` pixels whose maps of ``width`` channels take one chunk each."""
    size = rows_of_a_chunk(width)
    return [slice(begin, min(begin + size, rows)) for begin in range(0, rows, size)]


def chunks_of_images(images: int, rows: int, width: int) -> list[tuple[slice, slice]]:
    """The same for maps of shape (images, rows, width), as pairs of slices.

    Each takes several whole images, or some rows of one.
    """
    together = max(rows_of_a_chunk(width) // max(rows, 1), 1)
    return [(slice(begin, begin + together), part) for begin in range(0, images, together)
            for part in chunks(rows, width)]
