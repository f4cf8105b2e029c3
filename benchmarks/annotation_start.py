"""What the annotations of millions of objects cost at the start of several processes.

``python -m benchmarks.annotation_start`` writes a COCO file of a million boxes, lets one process
build the data set of a training on it, and then four that work together over gloo. Time is that
until all have it. Memory is the most that all of them hold together (their proportional set sizes,
in which a page that several share counts once), above what they held before.
"""
import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import forks

CATEGORIES = 80
READY, GO = 'ready', 'go'


def write(path: Path, images: int, annotations: int) -> None:
    """A COCO file of boxes."""
    rng = np.random.default_rng(0)
    boxes = rng.integers(1, 200, (annotations, 4)).tolist()
    owners = rng.integers(0, images, annotations).tolist()
    classes = rng.integers(0, CATEGORIES, annotations).tolist()
    path.write_text(json.dumps(dict(
        images=[dict(id=number, file_name=f'{number:012}.jpg', width=640, height=480)
                for number in range(images)],
        categories=[dict(id=number, name=f'class {number}') for number in range(CATEGORIES)],
        annotations=[dict(id=number, image_id=owner, category_id=category, bbox=box,
                          area=box[2] * box[3], iscrowd=0)
                     for number, (owner, category, box) in enumerate(
                         zip(owners, classes, boxes))])))


def build(folder: Path, path: Path, rank: int, processes: int) -> None:
    """One process: says when it is ready to begin, and how many samples it has."""
    from convnext_dense.runtime.annotations import build_dataset
    from convnext_dense.runtime.bad_image_list import BadImageList
    if processes > 1:
        torch.distributed.init_process_group('gloo', f'file://{folder}/meeting', rank=rank,
                                             world_size=processes)
    Path(folder, f'{READY}_{rank}').touch()
    while not Path(folder, GO).exists():
        time.sleep(.01)
    dataset = build_dataset(dict(
        type='convnext_dense.CocoDataset', ann_file=str(path), data_prefix=dict(img=''),
        metainfo=dict(classes=tuple(f'class {number}' for number in range(CATEGORIES))),
        filter_cfg=dict(filter_empty_gt=True, min_size=32), pipeline=[]),
        BadImageList(folder / 'bad_images.jsonl'))
    if processes > 1:
        torch.distributed.barrier()
    Path(folder, f'done_{rank}').write_text(str(len(dataset)))
    time.sleep(1)  # the memory that stays is looked at, too
    os._exit(0)


def held(processes: Sequence[int]) -> float:
    """MiB that processes hold together."""
    total = 0
    for process in processes:
        for line in Path(f'/proc/{process}/smaps_rollup').read_text().splitlines():
            if line.startswith('Pss:'):
                total += int(line.split()[1])
    return total / 1024


def start(path: Path, processes: int, folder: Path) -> tuple[float, float, float]:
    """Seconds until all have the data set, the most MiB meanwhile, and those that stay."""
    folder.mkdir()
    printed = [folder / f'printed_{rank}' for rank in range(processes)]
    children = [forks.start(partial(build, folder, path, rank, processes), printed[rank])
                for rank in range(processes)]
    while len(list(folder.glob(f'{READY}_*'))) < processes:
        time.sleep(.01)
    before = most = held(children)
    (folder / GO).touch()
    begin = time.perf_counter()
    while len(list(folder.glob('done_*'))) < processes:
        most = max(most, held(children))
        time.sleep(.3)  # looking at a process's pages takes a while itself
    seconds = time.perf_counter() - begin
    stays = held(children)
    for child, text in zip(children, printed):
        outcome = forks.finish(child, text)
        if outcome.status != forks.DONE:
            raise RuntimeError(outcome.text[-2000:])
    return seconds, most - before, stays - before


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.annotation_start',
                                     description=__doc__.split('\n\n', 1)[1])
    parser.add_argument('--annotations', type=int, default=10**6)
    parser.add_argument('--images', type=int, default=10**5)
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 4], metavar='N')
    args = parser.parse_args(arguments)
    import mmdet.datasets  # noqa: F401 the children inherit it

    import convnext_dense.datasets.coco_dataset  # noqa: F401
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / 'annotations.json', args.images, args.annotations)
        print('| processes | seconds | most MiB of all together | MiB that stay |')
        print('|---|---|---|---|')
        for processes in args.processes:
            seconds, most, stays = start(folder / 'annotations.json', processes,
                                         folder / str(processes))
            print(f'| {processes} | {seconds:.1f} | {most:.0f} | {stays:.0f} |', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
