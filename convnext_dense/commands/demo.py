"""Train and evaluate a small ConvNeXt detector and segmenter on the embedded data set.

Draws the images, trains Cascade Mask R-CNN and UperNet on them, evaluates both on images that
they have not seen, prints one table and writes annotated images, ground truth beside prediction.

convnext-dense demo
convnext-dense demo --steps 2 --device cpu
"""
from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from convnext_dense.commands.options import choose_device, parse_overrides
from convnext_dense.config_files import FOLDER
from convnext_dense.cores import core_count
from convnext_dense.errors import InputError
from convnext_dense.files import write_image

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

    import numpy as np
    from mmengine.hooks import Hook
    from mmengine.runner import Runner
    from mmengine.structures import BaseDataElement

CONFIGS = FOLDER / 'demo'
#: title, config, and for each metric: column, key of the evaluator, factor, the least to expect
TASKS: list[tuple[str, str, list[tuple]]] = [
    ('Cascade Mask R-CNN', 'cascade-mask-rcnn_convnext_shapes.py',
     [('box AP', 'coco/bbox_mAP', 1, .50), ('mask AP', 'coco/segm_mAP', 1, .45)]),
    ('UperNet', 'upernet_convnext_shapes.py', [('mIoU', 'mIoU', .01, .70)]),
]
DATA = dict(train=400, val=100, size=160)
IMAGES = 12
MIN_SCORE = .5  # of the drawn predictions
PROGRESS_SECONDS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--data-root', default='data/shapes', metavar='DIR',
                        help='folder of the data set, drawn if it is not there '
                        '(default: %(default)s)')
    parser.add_argument('--work-dir', default='work_dirs/demo', metavar='DIR',
                        help='folder for results (default: %(default)s)')
    parser.add_argument('--steps', type=int, metavar='N', help='train only N steps each, to see '
                        'that everything works; the figures are then not judged')
    parser.add_argument('--device', help='cpu, cuda or cuda:N (default: cuda where there is one)')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', default=[],
                        help='override settings of both configs')


def run(args: argparse.Namespace) -> int:
    device = choose_device(args.device)
    overrides = {**(shortened(args.steps) if args.steps is not None else {}),
                 **parse_overrides(args.cfg_options)}
    from convnext_dense.datasets.shapes import write_shapes
    start = time.time()
    written = write_shapes(args.data_root, **DATA)
    say(f'[1/3] data set: {DATA["train"]} training and {DATA["val"]} validation images in '
        f'{args.data_root} ({"drawn" if written else "already there"})')
    work_dir = Path(args.work_dir)
    trained = train_all([
        (f'[2/3] {title}', CONFIGS / config, args.data_root, work_dir / Path(config).stem, device,
         overrides) for title, config, _ in TASKS], device)
    results = [(title, metrics, result) for (title, _, metrics), result in zip(TASKS, trained)]
    paths = write_images(work_dir, [result['drawings'] for result in trained])
    say(f'[3/3] {len(paths)} annotated images, ground truth beside prediction: '
        f'{paths[0]} and the others beside it')
    say('')
    say(format_table(results))
    missed = [f'{column} {result["metrics"][key] * factor:.3f} is below {least}'
              for _, metrics, result in results for column, key, factor, least in metrics
              if not result['metrics'][key] * factor >= least]
    took = f'{minutes(time.time() - start)} in all.'
    if args.steps is not None:
        say(f'\n{took} Everything ran; {args.steps} steps teach a model nothing.')
        return 0
    say(f'\n{took} ' + (f'Not as expected: {"; ".join(missed)}.' if missed else
                        'All as expected.'))
    return 1 if missed else 0


def shortened(steps: int) -> dict:
    """The settings that make a training of both configs ``steps`` long."""
    if steps < 1:
        raise InputError(f'--steps {steps}: give a number from 1 on')
    return {key: steps for key in ('train_cfg.max_iters', 'train_cfg.val_interval',
                                   'default_hooks.checkpoint.interval')}


def train_all(jobs: list[tuple], device: str) -> list[dict]:
    """Train and evaluate several models: on a CPU side by side, since small models leave most of
    a second core idle.

    Args:
        jobs (list[tuple]): arguments of :func:`train_and_evaluate`.
        device (str): ``cpu`` or ``cuda``.

    Returns:
        list[dict]: what it returned, in this order.
    """
    if process_count(len(jobs), device) == 1:
        return [train_and_evaluate(*job) for job in jobs]
    with training_processes(len(jobs), device) as pool:
        return list(pool.map(train_and_evaluate, *zip(*jobs)))


def process_count(jobs: int, device: str) -> int:
    """How many models are trained at a time: one a core on a CPU, one a GPU where there are any."""
    if device == 'cpu':
        return min(jobs, core_count())
    import torch
    return max(min(jobs, torch.cuda.device_count()), 1)


def training_processes(jobs: int, device: str) -> ProcessPoolExecutor:
    """A pool of :func:`process_count` processes that share the cores; each has its own GPU."""
    processes = process_count(jobs, device)
    context = multiprocessing.get_context('spawn')
    gpus = context.SimpleQueue()
    for number in range(processes):
        gpus.put(f'cuda:{number}' if device == 'cuda' else 'cpu')
    return ProcessPoolExecutor(processes, context, start_process,
                               (max(core_count() // processes, 1), gpus))


def start_process(threads: int, devices: SimpleQueue[str]) -> None:
    """Give a process of :func:`training_processes` its threads and the next of the devices."""
    import torch
    choose_device(devices.get())
    torch.set_num_threads(threads)


def train_and_evaluate(label: str, config: str, data_root: str | Path | None, work_dir: Path,
                       device: str, overrides: dict | None = None,
                       images: int = IMAGES) -> dict[str, Any]:
    """Train the model of a demo config, evaluate it and draw its predictions.

    What OpenMMLab prints goes to ``console.log`` in ``work_dir``. Without a ``data_root`` that of
    the config stays.

    Returns:
        dict: ``metrics`` (dict[str, float]), ``parameters`` (int), ``seconds`` of training, and
        ``drawings``, a list of (name, ground truth, prediction).
    """
    from convnext_dense.config import load_config, set_data_root, set_device
    work_dir.mkdir(parents=True, exist_ok=True)
    console = sys.stdout
    log = work_dir / 'console.log'
    say(f'{label}: preparing; details in {log}')
    with open(log, 'w') as file, contextlib.redirect_stdout(file), \
            contextlib.redirect_stderr(file):
        cfg = load_config(config, overrides)
        cfg.work_dir = str(work_dir)
        if data_root is not None:
            set_data_root(cfg, data_root)
        set_device(cfg, device)
        from convnext_dense.commands.options import build_runner
        runner = build_runner(cfg)
        progress = progress_hook(label, console)
        runner.register_hook(progress, 'LOWEST')
        runner.train()
        if progress.metrics is None:  # resumed after the last step
            runner.val()
        drawings = draw_predictions(runner, images) if images else []
    return dict(metrics=progress.metrics, drawings=drawings, seconds=progress.seconds,
                parameters=sum(p.numel() for p in runner.model.parameters()))


def progress_hook(label: str, console: IO[str]) -> Hook:
    """A hook that says how far training and evaluation are, and keeps the metrics."""
    from mmengine.hooks import Hook

    class Progress(Hook):
        metrics = seconds = None

        def before_train(self, runner):
            self.start = self.said = time.time()

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            done, total, now = runner.iter + 1, runner.max_iters, time.time()
            self.seconds = now - self.start
            if now - self.said < PROGRESS_SECONDS and done not in (1, total):
                return
            self.said = now
            left = self.seconds / done * (total - done)
            loss = (outputs or {}).get('loss')  # a skipped step has none
            say(f'{label}: step {done}/{total}, '
                f'{"skipped" if loss is None else f"loss {loss.item():.2f}"}, '
                f'{minutes(self.seconds)} gone, {minutes(left)} left', console)

        def before_val(self, runner):
            say(f'{label}: evaluating {len(runner.val_dataloader.dataset)} images', console)

        def after_val_epoch(self, runner, metrics=None):
            self.metrics = metrics

    return Progress()


def draw_predictions(runner: Runner, count: int) -> list[tuple]:
    """Ground truth and prediction of the first ``count`` validation images.

    Returns:
        list: (name, image of the ground truth, image of the prediction).
    """
    import torch
    runner.model.eval()
    drawings = []
    with torch.no_grad():
        for batch in runner.val_dataloader:
            for sample in runner.model.val_step(batch):
                drawings.append(draw_sample(sample, runner.val_dataloader.dataset.metainfo))
            if len(drawings) >= count:
                break
    return drawings[:count]


def draw_sample(sample: BaseDataElement, metainfo: dict) -> tuple[str, np.ndarray, np.ndarray]:
    """(name, ground truth, prediction) of one mmdet or mmseg data sample."""
    import cv2
    import numpy as np

    from convnext_dense.analysis.images import draw_instances, draw_label_map
    names = metainfo['classes']
    image = np.asarray(cv2.imread(sample.img_path))
    if 'pred_sem_seg' in sample:
        truth, prediction = (draw_label_map(image, pixels.data[0].cpu().numpy(), names)
                             for pixels in (sample.gt_sem_seg, sample.pred_sem_seg))
        return Path(sample.img_path).stem, truth, prediction
    truth = sample.gt_instances
    found = sample.pred_instances
    found = found[found.scores >= MIN_SCORE].cpu().numpy()
    return (Path(sample.img_path).stem,
            draw_instances(image, truth.bboxes.cpu().numpy(), truth.masks.masks,
                           truth.labels.tolist(), names),
            draw_instances(image, found.bboxes, found.masks, found.labels.tolist(), names,
                           found.scores))


def write_images(work_dir: Path, drawings: list[list]) -> list[Path]:
    """One file an image: the tasks below each other, ground truth beside prediction.

    Args:
        work_dir (Path): images go to its folder ``images``.
        drawings (list[list]): for each task what :func:`draw_predictions` gave.

    Returns:
        list[Path]: the files.
    """
    from convnext_dense.analysis.images import grid, with_title
    folder = work_dir / 'images'
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for tasks in zip(*drawings):
        rows = [[with_title(truth, 'ground truth'), with_title(found, f'{task[0]}: prediction')]
                for task, (_, truth, found) in zip(TASKS, tasks)]
        paths.append(folder / f'{tasks[0][0]}.png')
        write_image(paths[-1], grid(rows))
    return paths


def format_table(results: list[tuple[str, list[tuple], dict]]) -> str:
    """The figures of all tasks as one table, a dash where a task has no such figure."""
    columns = [metric[0] for _, metrics, _ in results for metric in metrics]
    head = ['', *columns, 'parameters', 'training']
    rows = [head]
    for title, metrics, result in results:
        figures = {column: f'{result["metrics"][key] * factor:.3f}'
                   for column, key, factor, _ in metrics}
        rows.append([f'{title}, ConvNeXt', *(figures.get(column, '-') for column in columns),
                     f'{result["parameters"] / 1e6:.1f} M', minutes(result['seconds'])])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join('  '.join([row[0].ljust(widths[0])] + [
        cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]) for row in rows)


def minutes(seconds: float) -> str:
    """Seconds as ``m:ss``."""
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'


def say(text: str, console: IO[str] | None = None) -> None:
    print(text, file=console or sys.stdout, flush=True)
