"""What the annotations of millions of objects cost at the start of several processes.

``python -m benchmarks.annotation_start`` writes a COCO file of a million boxes, lets one process
build the data set of a training on it, and then four that work together over gloo. Time is that
until all have it. Memory is the most that all of them hold together (their proportional set sizes,
in which a page that several share counts once), above what they held before.

``--whole`` takes the start of a whole training instead, from the checks before it to the end of its
first step, with a twentieth of the annotations to validate on. A start on a hundredth of all is
taken first: what the annotations cost is what the start on all of them takes beyond it.
"""
import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.distributed.elastic.utils.distributed import get_free_port

from benchmarks import forks

CATEGORIES = 80
CLASSES = tuple(f'class {number}' for number in range(CATEGORIES))
SIZE = 64  # of the images in pixels
READY, GO, DONE, LEAVE = 'ready', 'go', 'done', 'leave'


class Cost(NamedTuple):
    """What a start took.

    Attributes:
        seconds: until all processes were done.
        most: MiB that they held together beyond the beginning, at the most.
        stays: MiB that they held in the end.
    """
    seconds: float
    most: float
    stays: float


def write(folder: Path, images: int, annotations: int, whole: bool) -> None:
    """A COCO data set of boxes; for a whole training with one image under all names."""
    import mmcv
    folder.mkdir()
    rng = np.random.default_rng(0)
    write_annotations(folder / 'train.json', images, annotations, rng)
    if not whole:
        return
    write_annotations(folder / 'val.json', max(images // 20, 1), max(annotations // 20, 1), rng)
    mmcv.imwrite(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), str(folder / 'image.jpg'))
    (folder / 'images').mkdir()
    for number in range(images):
        os.symlink(folder / 'image.jpg', folder / 'images' / f'{number:012}.jpg')


def write_annotations(path: Path, images: int, annotations: int, rng: np.random.Generator) -> None:
    """A COCO file of boxes."""
    boxes = rng.integers(1, SIZE // 2, (annotations, 4)).tolist()
    owners = rng.integers(0, images, annotations).tolist()
    classes = rng.integers(0, CATEGORIES, annotations).tolist()
    path.write_text(json.dumps(dict(
        images=[dict(id=number, file_name=f'{number:012}.jpg', width=SIZE, height=SIZE)
                for number in range(images)],
        categories=[dict(id=number, name=name) for number, name in enumerate(CLASSES)],
        annotations=[dict(id=number, image_id=owner, category_id=category, bbox=box,
                          area=box[2] * box[3], iscrowd=0)
                     for number, (owner, category, box) in enumerate(
                         zip(owners, classes, boxes))])))


def build(data: Path, folder: Path, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """One process: the data set of a training."""
    from convnext_dense.runtime.annotations import build_dataset
    from convnext_dense.runtime.bad_image_list import BadImageList
    processes = int(os.environ['WORLD_SIZE'])
    if processes > 1:
        torch.distributed.init_process_group('gloo')
    begin()
    build_dataset(dict(
        type='convnext_dense.CocoDataset', ann_file=str(data / 'train.json'),
        data_prefix=dict(img=''), metainfo=dict(classes=CLASSES),
        filter_cfg=dict(filter_empty_gt=True, min_size=32), pipeline=[]),
        BadImageList(folder / 'bad_images.jsonl'))
    if processes > 1:
        torch.distributed.barrier()
    end()


def train(data: Path, folder: Path, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """One process: the first step of a small detector, with all that is before it."""
    from mmengine.hooks import Hook

    from convnext_dense.checks.preflight import check_config
    from convnext_dense.commands.options import build_runner
    from convnext_dense.config import load_config, set_device
    cfg = load_config('convnext_dense::own/faster-rcnn_convnextv2-atto.py')
    for loader, part in (('train_dataloader', 'train'), ('val_dataloader', 'val'),
                         ('test_dataloader', 'val')):
        cfg[loader].update(batch_size=1, num_workers=0, persistent_workers=False)
        cfg[loader].dataset.update(
            data_root='', ann_file=str(data / f'{part}.json'), metainfo=dict(classes=CLASSES),
            data_prefix=dict(img=str(data / 'images')), pipeline=[
                dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
                dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=True),
                dict(type='PackDetInputs')])
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(data / 'val.json')
    cfg.model.roi_head.bbox_head.num_classes = CATEGORIES
    cfg.train_cfg.update(max_iters=1, val_interval=2)
    cfg.default_hooks.checkpoint = None
    cfg.work_dir, cfg.launcher = str(folder), 'pytorch'
    set_device(cfg, 'cpu')

    class AfterFirst(Hook):
        """Ends the process after the first step."""

        def after_train_iter(self, *_, **__):
            end()

    begin()
    check_config(cfg, training=True)
    runner = build_runner(cfg)
    runner.register_hook(AfterFirst())
    runner.train()


def process(call: Callable, data: Path, folder: Path, rank: int) -> None:
    """One process: says when it is ready to begin, and when it is done."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)

    def wait_for(name):
        while not Path(folder, name).exists():
            time.sleep(.01)

    def begin():
        Path(folder, f'{READY}_{rank}').touch()
        wait_for(GO)

    def end():
        Path(folder, f'{DONE}_{rank}').touch()
        wait_for(LEAVE)  # the memory that stays is looked at, too
        os._exit(0)
    call(data, folder, begin, end)


def held(processes: Sequence[int]) -> float:
    """MiB that processes hold together."""
    total = 0
    for child in processes:
        for line in Path(f'/proc/{child}/smaps_rollup').read_text().splitlines():
            if line.startswith('Pss:'):
                total += int(line.split()[1])
    return total / 1024


def start(call: Callable, data: Path, processes: int, folder: Path) -> Cost:
    """What it takes until all processes are done."""
    folder.mkdir()
    port = get_free_port()
    os.environ.update(WORLD_SIZE=str(processes), LOCAL_WORLD_SIZE=str(processes),
                      MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    printed = [folder / f'printed_{rank}' for rank in range(processes)]
    children = [forks.start(partial(process, call, data, folder, rank), printed[rank])
                for rank in range(processes)]

    def waiting(what):
        """Whether a process has not said it yet."""
        if any(os.waitpid(child, os.WNOHANG)[0] for child in children):
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            raise RuntimeError('\n'.join(text.read_text()[-2000:] for text in printed))
        return len(list(folder.glob(f'{what}_*'))) < processes
    while waiting(READY):
        time.sleep(.01)
    before = most = held(children)
    (folder / GO).touch()
    begin = time.perf_counter()
    while waiting(DONE):
        most = max(most, held(children))
        time.sleep(.3)  # looking at a process's pages takes a while itself
    seconds = time.perf_counter() - begin
    stays = held(children)
    (folder / LEAVE).touch()
    for child, text in zip(children, printed):
        outcome = forks.finish(child, text)
        if outcome.status != forks.DONE:
            raise RuntimeError(outcome.text[-2000:])
    return Cost(seconds, max(most, stays) - before, stays - before)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.annotation_start',
                                     description=__doc__.split('\n\n', 1)[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--annotations', type=int, default=10**6)
    parser.add_argument('--images', type=int, default=10**5)
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 4], metavar='N')
    parser.add_argument('--whole', action='store_true', help='the start of a whole training')
    args = parser.parse_args(arguments)
    import mmdet.datasets  # noqa: F401 the children inherit it

    import convnext_dense.datasets.coco_dataset  # noqa: F401
    if args.whole:
        import convnext_dense.evaluation  # noqa: F401
        import convnext_dense.models  # noqa: F401
        import convnext_dense.runtime  # noqa: F401
    call = train if args.whole else build
    shares = (100, 1) if args.whole else (1,)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for share in shares:
            write(folder / f'data_{share}', args.images // share, args.annotations // share,
                  args.whole)
        print('| annotations | processes | seconds | most MiB of all together | MiB that stay |')
        print('|---|---|---|---|---|')
        for processes in args.processes:
            costs = []
            for share in shares:
                costs.append(start(call, folder / f'data_{share}', processes,
                                   folder / f'{processes}_{share}'))
                row(f'{args.annotations // share}', processes, costs[-1])
            if args.whole:
                row('the difference', processes,
                    Cost(*(more - less for less, more in zip(*costs))))
    return 0


def row(annotations: str, processes: int, cost: Cost) -> None:
    """Print a row of the table."""
    print(f'| {annotations} | {processes} | {cost.seconds:.1f} | {cost.most:.0f} | '
          f'{cost.stays:.0f} |', flush=True)


if __name__ == '__main__':
    sys.exit(main())
