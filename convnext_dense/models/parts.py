"""Computing the wide maps of a block in parts that stay in the processor's cache."""

#: values of a part: 4 MB in float32, within a level 3 cache
PART = 2**20


def rows_of_a_part(width):
    """How many rows of so many values a part holds."""
    return max(PART // width, 1)


def parts(rows, width):
    """Slices of ``rows`` pixels whose maps of ``width`` channels take one part each."""
    size = rows_of_a_part(width)
    return [slice(begin, min(begin + size, rows)) for begin in range(0, rows, size)]


def parts_of_pictures(pictures, rows, width):
    """The same for maps of shape (pictures, rows, width), as pairs of slices.

    Each takes several whole pictures, or some rows of one.
    """
    together = max(rows_of_a_part(width) // max(rows, 1), 1)
    return [(slice(begin, begin + together), part) for begin in range(0, pictures, together)
            for part in parts(rows, width)]
