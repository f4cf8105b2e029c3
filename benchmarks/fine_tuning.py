"""What ``--init-from`` gains: ``python -m benchmarks.fine_tuning``.

On the embedded data set a detector and a segmenter (the demo's) are trained on three of the five
shapes, the others left as background. Then models of all classes are trained for 40 % of the
iterations, from nothing and from the first model, whose rows of classes are matched by name, with
two seeds each. Ends with status 1 unless the models that started from the first end higher.
"""
import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from convnext_dense.commands.demo import (
    CONFIGS,
    minutes,
    process_count,
    train_and_evaluate,
    training_processes,
)
from convnext_dense.datasets.shapes import BACKGROUND, CLASSES, SCENE_CLASSES, write_shapes

KNOWN = ('disc', 'square', 'star')
PART = .4  # of the first model's iterations
SEEDS = (0, 1)
SIDE = 96  # of the images, in pixels
#: config, iterations of the first model, name of the figure, its key, its factor
TASKS = {
    'detector': ('cascade-mask-rcnn_convnext_shapes.py', 300, 'box AP', 'coco/bbox_mAP', 1.),
    'segmenter': ('upernet_convnext_shapes.py', 300, 'mIoU', 'mIoU', .01)}

#: settings that fit the demo's models to images of that side
SMALLER = {
    'detector': {f'model.train_cfg.rcnn.{stage}.sampler.num': 24 for stage in range(3)},
    'segmenter': {'model.data_preprocessor.size': (SIDE, SIDE)}}


def job(task, name, data_root, work_dir, iterations, seed, **settings):
    """Arguments of one training, for :func:`train_and_evaluate`."""
    config = TASKS[task][0]
    overrides = {
        'train_cfg.max_iters': iterations, 'train_cfg.val_interval': iterations,
        'param_scheduler.0.total_steps': iterations,
        'default_hooks.checkpoint.interval': iterations, 'randomness.seed': seed,
        **SMALLER[task], **settings}
    return (f'{task}, {name}, seed {seed}', CONFIGS / config, str(data_root),
            work_dir / f'{task}_{name.replace(" ", "-")}_{seed}', 'cpu', overrides, 0)


def of_known_classes(task):
    """Settings of the first model: its classes, and label maps without the others."""
    if task == 'detector':
        return dict(classes=list(KNOWN))
    classes = [SCENE_CLASSES[0], *KNOWN]
    values = {BACKGROUND + 1 + number: BACKGROUND + (classes.index(name) if name in KNOWN else 0)
              for number, name in enumerate(CLASSES)}
    return {'classes': classes, **{
        f'{loader}.dataset.pipeline.1.label_values': values
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')}}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('tasks', nargs='*', default=[], metavar='TASK',
                        help=f'{" or ".join(TASKS)} (default: both)')
    parser.add_argument('--work-dir', type=Path, help='kept there (default: a temporary folder)')
    parser.add_argument('--iterations', type=int, help='of the first models')
    args = parser.parse_args()
    tasks = args.tasks or list(TASKS)
    if set(tasks) - set(TASKS):
        parser.error(f'the tasks are {" and ".join(TASKS)}')
    work_dir = args.work_dir or Path(tempfile.mkdtemp())
    write_shapes(work_dir / 'shapes', train=200, val=60, size=SIDE)
    iterations = {task: args.iterations or TASKS[task][1] for task in tasks}
    shorter = {task: round(PART * number) for task, number in iterations.items()}
    first = [job(task, 'three classes', work_dir / 'shapes', work_dir, iterations[task], 0,
                 **of_known_classes(task)) for task in tasks]
    starts = dict(zip(tasks, (str(arguments[3] / f'iter_{arguments[5]["train_cfg.max_iters"]}.pth')
                              for arguments in first)))
    scratch = [job(task, 'from nothing', work_dir / 'shapes', work_dir, shorter[task], seed)
               for task in tasks for seed in SEEDS]
    tuned = [job(task, 'from three classes', work_dir / 'shapes', work_dir, shorter[task], seed,
                 init_from=starts[task]) for task in tasks for seed in SEEDS]
    with training_processes(process_count(2, 'cpu'), 'cpu') as pool:
        results = list(pool.map(train_and_evaluate, *zip(*(first + scratch)))) + list(
            pool.map(train_and_evaluate, *zip(*tuned)))
    figures = {arguments[0]: result for arguments, result in zip(first + scratch + tuned, results)}
    wins = True
    for task in tasks:
        _, _, figure, key, factor = TASKS[task]
        print(f'\n{task}, {figure}; {iterations[task]} iterations on {", ".join(KNOWN)}, then '
              f'{shorter[task]} on all {len(CLASSES)} shapes')
        for seed in SEEDS:
            values = [figures[f'{task}, {name}, seed {seed}']
                      for name in ('from nothing', 'from three classes')]
            nothing, known = (value['metrics'][key] * factor for value in values)
            wins &= known > nothing
            print(f'seed {seed}: from nothing {nothing:.3f}, --init-from {known:.3f} '
                  f'({known - nothing:+.3f}); {minutes(sum(one["seconds"] for one in values))}')
    if args.work_dir is None:
        shutil.rmtree(work_dir)
    return 0 if wins else 1


if __name__ == '__main__':
    sys.exit(main())
