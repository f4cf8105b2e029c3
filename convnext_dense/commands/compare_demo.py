"""The models of ``compare --demo``: three backbones of about one size, trained alike.

Same data, heads, recipe and seeds; the backbone differs, and each has its own learning rate.
"""
from collections.abc import Callable
from pathlib import Path

from convnext_dense.analysis.study import Study
from convnext_dense.commands import compare_study, compare_trained
from convnext_dense.commands.options import choose_device
from convnext_dense.config_files import FOLDER

DATA = dict(train=800, val=200, size=64)
SIZE = '{size}x{size}'.format(**DATA)  # of the images
MODELS = {name: FOLDER / 'compare' / f'upernet_{name.lower()}_short_shapes.py'
          for name in ('ConvNeXt', 'Swin', 'ResNet')}
LRS = (3e-3, 6e-3)
SEEDS = 3
ROUNDS = 10


def train_models(folder: Path, first_seed: int, update: Callable) -> compare_trained.Compared:
    """Tune, train and time the models; says what it does.

    Args:
        folder (Path): gets the data set, a work directory for each training, and
            ``benchmark.json``.
        first_seed (int): tunes; those after it count.
        update (callable): gets the named work directories and the lines on the tuning after each
            training that counts.
    """
    from convnext_dense.datasets.shapes import write_shapes
    device = choose_device(None)
    data_root = str(folder / 'shapes')
    write_shapes(data_root, **DATA)
    study = Study(MODELS, LRS, tuple(range(first_seed + 1, first_seed + 1 + SEEDS)), first_seed)
    paths, lines = compare_study.run_study(study, folder, data_root, device, update)
    return compare_trained.compared(study, folder, data_root, device, paths, lines, SIZE, 4, ROUNDS)
