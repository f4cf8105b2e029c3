"""What a check of a data set finds: kinds, how bad each is, and a report of all of them."""
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from convnext_dense.datasets.coco_problems import ERROR, WARNING, Problems
from convnext_dense.datasets.coco_problems import KINDS as OF_COCO_FILES

EXAMPLES = 10  # kept for each kind

#: kind -> (severity, what it means). An error stops training or makes its result worthless; with
#: a warning training runs, but some of the data are ignored or doubtful.
KINDS = {
    'config': (ERROR, 'the config and the data do not fit'),
    **{name: (kind.severity, kind.meaning) for name, kind in OF_COCO_FILES.items()},
    'config-doubtful': (WARNING, 'settings that may not do what they should'),
    'image-missing': (ERROR, 'images that are not there'),
    'image-unreadable': (ERROR, 'images that cannot be decoded'),
    'image-size': (ERROR, 'images of another size than stated'),
    'image-rotated': (WARNING, 'images with an EXIF rotation, which loading applies'),
    'duplicate-file-name': (WARNING, 'images listed twice'),
    'duplicate-content': (WARNING, 'images with the same pixels in one split'),
    'leakage': (ERROR, 'images with the same pixels in two splits'),
    'look-alike': (WARNING, 'images that look the same in two splits: copies of other size or '
                   'encoding, or neighbours of a video'),
    'category-order': (WARNING, 'categories in another order than the classes of the config: the '
                       'labels follow the config'),
    'annotations-not-read': (WARNING, 'data sets whose annotations were not read, as their '
                             'class is not known here: the images alone were checked'),
    'class-without-instances': (WARNING, 'classes that never occur'),
    'box-empty': (WARNING, 'boxes less than a pixel wide or high: ignored'),
    'box-outside': (WARNING, 'boxes that leave the image by more than a pixel'),
    'area': (WARNING, 'areas that are not positive: the instance is ignored'),
    'mask-missing': (ERROR, 'instances without a mask, which the pipeline loads'),
    'mask-malformed': (ERROR, 'masks that are neither polygons nor RLE'),
    'polygon-invalid': (WARNING, 'polygons of less than three points: ignored'),
    'polygon-degenerate': (WARNING, 'polygons without area'),
    'polygon-outside': (WARNING, 'polygons that leave the image by more than a pixel'),
    'rle-invalid': (ERROR, 'RLE that does not fill its image, or of another size'),
    'mask-empty': (WARNING, 'masks without a pixel'),
    'mask-off-box': (WARNING, 'masks whose extent is not their box (IoU below 0.5)'),
    'map-missing': (ERROR, 'images without a label map'),
    'map-without-image': (WARNING, 'label maps without an image'),
    'map-unreadable': (ERROR, 'label maps that cannot be read as class numbers'),
    'map-size': (ERROR, 'label maps of another size than their image'),
    'label-values': (ERROR, 'label maps with values outside the classes'),
    'map-ignored': (WARNING, 'label maps where every pixel is ignored'),
}


class Finding(NamedTuple):
    """One thing that was found: its kind and where."""
    kind: str
    text: str


class Findings:
    """Findings of one data set, counted by kind, with the first few examples of each."""

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}
        for finding in findings:
            self.add(*finding)

    def add(self, kind: str, text: str) -> None:
        """Add one finding."""
        if kind not in KINDS:
            raise KeyError(kind)
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(text)

    def extend(self, problems: Problems) -> None:
        """Add the :class:`~convnext_dense.datasets.coco_problems.Problems` of a file."""
        for kind, count in problems.counts.items():
            self.add(kind, problems.examples[kind][0])
            self.counts[kind] += count - 1
            self.examples[kind] = (self.examples[kind][:-1] + problems.examples[kind])[:EXAMPLES]

    def count(self, severity: str) -> int:
        return sum(count for kind, count in self.counts.items() if KINDS[kind][0] == severity)

    def lines(self, most: int = 3) -> Iterator[str]:
        """Lines of text, errors first."""
        for kind in sorted(self.counts, key=lambda kind: (KINDS[kind][0], list(KINDS).index(kind))):
            severity, meaning = KINDS[kind]
            yield f'{severity:>7}: {self.counts[kind]} {meaning} [{kind}]'
            for text in self.examples[kind][:most]:
                yield f'         {text}'
            if self.counts[kind] > most:
                yield f'         and {self.counts[kind] - most} more'

    def as_dict(self) -> dict[str, dict]:
        return {kind: dict(severity=KINDS[kind][0], meaning=KINDS[kind][1], count=count,
                           examples=self.examples[kind])
                for kind, count in self.counts.items()}
