"""The benchmark data sets as data: archives, hashes, folders and counts.

Sizes and md5 hashes are those of the published archives: COCO's from the archive headers of
images.cocodataset.org, ADE20K's from the Scene Parsing Benchmark (the size is not published).
"""
from typing import NamedTuple


class Archive(NamedTuple):
    """A published zip file.

    Attributes:
        name (str): file name.
        url (str): where it is published.
        size (int | None): bytes.
        md5 (str): hash.
        members (tuple[str]): beginnings of the names of the members that are needed.
        strip (str): folder in the archive that becomes the data root.
        splits (tuple[str]): the splits that need it.
    """
    name: str
    url: str
    size: int | None
    md5: str
    members: tuple
    strip: str = ''
    splits: tuple = ('train', 'val')


class Folder(NamedTuple):
    """A folder below the data root and the files that belong in it.

    Attributes:
        path (str): relative to the data root.
        suffix (str): ending of the files that are counted.
        number (int): how many there are.
        split (str): the split that it belongs to.
        annotations (str | None): COCO annotation file that lists its files.
        partner (str | None): folder with one file of the same stem for each, and its suffix
            (``'annotations/training/*.png'``).
    """
    path: str
    suffix: str
    number: int
    split: str
    annotations: str | None = None
    partner: str | None = None


class Benchmark(NamedTuple):
    """A data set: its archives, its folders, and the data root that the configs name."""
    title: str
    root: str
    archives: tuple
    folders: tuple


COCO = 'http://images.cocodataset.org'  # its https certificate does not fit; hashes are checked

BENCHMARKS = {
    'coco': Benchmark(
        'COCO 2017', 'data/coco',
        (Archive('annotations_trainval2017.zip', f'{COCO}/annotations/annotations_trainval2017.zip',
                 252_907_541, 'f4bbac642086de4f52a3fdda2de5fa2c', ('annotations/instances_', )),
         Archive('val2017.zip', f'{COCO}/zips/val2017.zip', 815_585_330,
                 '442b8da7639aecaf257c1dceb8ba8c80', ('val2017/', ), splits=('val', )),
         Archive('train2017.zip', f'{COCO}/zips/train2017.zip', 19_336_861_798,
                 'cced6f7f71b7629ddf16f17bbcfab6b2', ('train2017/', ), splits=('train', ))),
        (Folder('train2017', '.jpg', 118_287, 'train',
                annotations='annotations/instances_train2017.json'),
         Folder('val2017', '.jpg', 5_000, 'val',
                annotations='annotations/instances_val2017.json'))),
    'ade20k': Benchmark(
        'ADE20K (Scene Parsing Benchmark 2016)', 'data/ade/ADEChallengeData2016',
        (Archive('ADEChallengeData2016.zip',
                 'http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip',
                 None, '7328b3957e407ddae1d3cbf487f149ef', ('', ),
                 strip='ADEChallengeData2016/'), ),
        (Folder('images/training', '.jpg', 20_210, 'train',
                partner='annotations/training/*.png'),
         Folder('images/validation', '.jpg', 2_000, 'val',
                partner='annotations/validation/*.png'))),
}
