"""The models of ``compare --demo``: three backbones of about one size, trained alike.

Same data, heads, recipe and seed; only the backbone differs.
"""
import argparse
import contextlib

from convnext_dense.commands import benchmark, demo
from convnext_dense.commands.options import choose_device
from convnext_dense.config_files import FOLDER

CONFIGS = FOLDER / 'compare'
MODELS = {name: CONFIGS / f'cascade-mask-rcnn_{name.lower()}_short_shapes.py'
          for name in ('ConvNeXt', 'Swin', 'ResNet')}
SIZE = '{size}x{size}'.format(**demo.DATA)  # of the images
ROUNDS = 10


def train_models(folder):
    """Train and time the models; says what it does.

    Args:
        folder (Path): gets a work directory for each model, and ``benchmark.json``.

    Returns:
        list[str]: what ``compare`` takes: the named work directories and the benchmark.
    """
    from convnext_dense.config import load_config
    from convnext_dense.datasets.shapes import write_shapes
    device = choose_device(None)
    data_root = load_config(MODELS['ConvNeXt']).data_root
    write_shapes(data_root, **demo.DATA)
    steps, paths = len(MODELS) + 1, []
    for step, (name, config) in enumerate(MODELS.items(), start=1):
        work_dir = folder / name.lower()
        demo.train_and_evaluate(f'[{step}/{steps}] {name}', config, data_root, work_dir, device)
        paths.append(f'{name}={work_dir}')
    demo.say(f'[{steps}/{steps}] speed and memory, the models in turns')
    return [*paths, str(time_models(folder))]


def time_models(folder):
    """Time the trained models on the images of the data set.

    Returns:
        Path: the benchmark's file.
    """
    from mmengine.runner import find_latest_checkpoint
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    out = folder / 'benchmark.json'
    args = parser.parse_args([
        *map(str, MODELS.values()), '--mode', 'both', '--dataset', '--batch', '4',
        '--rounds', str(ROUNDS), '--out', str(out),
        '--weights', *(find_latest_checkpoint(folder / name.lower()) for name in MODELS)])
    with open(folder / 'benchmark.log', 'w') as log, contextlib.redirect_stdout(log), \
            contextlib.redirect_stderr(log):
        benchmark.run(args)
    return out
