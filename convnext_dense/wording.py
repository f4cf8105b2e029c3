"""Numbers with their nouns, for messages."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: ``1 image``, ``3 images``, ``2 classes``.

    Args:
        number: from 0 on.
        noun: for one of them.
        plural: for more; the noun with an s by default.
    """
    return f'{number} {noun if number == 1 else plural or noun + "s"}'
