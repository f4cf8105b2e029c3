"""Computing the wide maps of a block in parts that stay in the processor's cache."""

#: values of a part: 3 MB in float32, within a level 3 cache
PART = 3 * 2**18


def rows_of_a_part(width):
    """How many rows of so many values a part holds."""
    return max(PART // width, 1)


def parts(rows, width):
    """Slices of ``rows`` pixels whose maps of ``width`` channels take one part each."""
    size = rows_of_a_part(width)
    return [slice(begin, min(begin + size, rows)) for begin in range(0, rows, size)]
