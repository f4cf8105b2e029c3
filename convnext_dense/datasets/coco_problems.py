"""What can be wrong with a COCO annotation file, how bad it is, and what to do about it."""
from collections import Counter
from typing import NamedTuple

ERROR, WARNING = 'error', 'warning'
EXAMPLES = 10  # kept of each kind


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        severity (str): ``error``: the file is refused; ``warning``: it is used all the same.
        meaning (str): with a count before it, a phrase.
        remedy (str): what to do.
    """
    severity: str
    meaning: str
    remedy: str = ''


#: by name; the errors in the order in which they are reported
KINDS = {
    'image-malformed': Kind(
        ERROR, 'entries of images that cannot be used',
        'each image needs an id of its own: a whole number or a text'),
    'category-malformed': Kind(
        ERROR, 'entries of categories that cannot be used',
        'each category needs an id, a whole number or a text, and a name'),
    'annotation-malformed': Kind(
        ERROR, 'entries of annotations that cannot be used',
        'each annotation needs image_id, category_id and bbox'),
    'duplicate-image-id': Kind(
        ERROR, 'image ids used twice',
        'give each image an id of its own, and its annotations that image_id'),
    'duplicate-annotation-id': Kind(
        ERROR, 'annotation ids used twice', 'number the annotations anew'),
    'duplicate-category': Kind(
        ERROR, 'categories with the same id or name',
        'keep one of them: some tools add a root category that bears the name of a class'),
    'file-name-missing': Kind(
        ERROR, 'images without a file name', 'give each image its file_name'),
    'number-malformed': Kind(
        ERROR, 'values that are no numbers, or impossible ones',
        'write numbers as numbers, without quotes'),
    'box-malformed': Kind(
        ERROR, 'boxes that are not four finite numbers',
        'a box is [left, top, width, height] in pixels, without quotes'),
    'box-relative': Kind(
        ERROR, 'boxes within 0 to 1, parts of their images',
        'write them in pixels: [left, top, width, height]'),
    'unknown-image-id': Kind(WARNING, 'annotations of images that are not listed: ignored'),
    'unknown-category-id': Kind(WARNING, 'annotations of categories that are not listed: ignored'),
    'id-as-text': Kind(WARNING, 'ids that are a number in one place and a text in another: '
                                'matched by their text'),
    'value-computed': Kind(WARNING, 'values that are missing: computed or taken as 0'),
}
#: problems that matter to those who open the images alone
OF_FILES = {'file-name-missing'}


class Problems:
    """Problems counted by kind, with the first few examples of each.

    Attributes:
        counts (Counter[str]): by kind.
        examples (dict[str, list[str]]): by kind.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, kind: str, text: str) -> None:
        """Add one problem."""
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(text)
