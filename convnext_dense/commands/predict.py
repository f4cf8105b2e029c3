"""Predict images, folders and videos with a trained model.

convnext-dense predict photos/ --model work_dirs/fruit
convnext-dense predict street.mp4 --model CONFIG --weights WEIGHTS --save images csv
convnext-dense predict photos/ --model exports/fruit --runtime openvino
"""
import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from convnext_dense.commands.options import add_predictor_options, choose_device, export_hint
from convnext_dense.errors import InputError, printable
from convnext_dense.wording import counted

if TYPE_CHECKING:
    from convnext_dense.prediction.predictor import Predictor
    from convnext_dense.prediction.sources import Source

SAVES = ('images', 'coco', 'labels', 'csv', 'yolo')
DEFAULT_SAVES = dict(instances=('images', 'coco'), labels=('images', 'labels'))
WRITERS = 2  # threads that draw and encode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('sources', nargs='+', metavar='SOURCE', help='image or video file, folder '
                        '(with its sub-folders), glob, number of a webcam, or - for a list of '
                        'files on standard input')
    parser.add_argument('--model', required=True, help='work directory, checkpoint, published '
                        'name, config file (Python code, which runs), or export')
    parser.add_argument('--weights', help='path, URL or published name of the weights, for a '
                        'config file')
    parser.add_argument('--out', default='predictions', metavar='DIR',
                        help='folder for the results (default: %(default)s)')
    parser.add_argument('--save', nargs='+', choices=SAVES, help='what to write: annotated images '
                        'and videos, one COCO JSON, label maps (of a segmenter), one CSV, YOLO '
                        'text files (default: images and coco; for a segmenter images and labels)')
    parser.add_argument('--threshold', type=float, default=.3, metavar='SCORE',
                        help='least score of an object (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=1, metavar='N', help='images of one size that '
                        'go through the network together (default: %(default)s)')
    add_predictor_options(parser)


def run(args: argparse.Namespace) -> int:
    from convnext_dense.prediction.sources import count_images, find_sources
    sources = find_sources(args.sources, sys.stdin if '-' in args.sources else (), args.out)
    from convnext_dense.prediction.exported import is_export
    device = choose_device('cpu' if args.device is None and is_export(args.model) else args.device)
    from convnext_dense.commands.process import set_up_process
    from convnext_dense.prediction import Predictor
    set_up_process(device)
    predictor = Predictor(
        args.model, args.weights, device=device, threshold=args.threshold, batch_size=args.batch,
        tile=args.tile, overlap=args.overlap, runtime=args.runtime, precision=args.precision)
    broken: list[str] = []

    def on_error(frame, error):
        broken.append(printable(str(error)))
        print(f'passed over: {broken[-1]}', file=sys.stderr)

    start = time.monotonic()
    done, stopped = predict(predictor, sources, args.out,
                            args.save or DEFAULT_SAVES[predictor.task], on_error,
                            count_images(sources))
    print(f'{counted(done, "image")} predicted with '
          f'{printable(predictor.source)}; results are in {printable(args.out)}' +
          (f'; {len(broken)} passed over' if broken else '') +
          ('; stopped' if stopped else ''))
    hint = None if is_export(args.model) else export_hint(
        args.model, device, time.monotonic() - start)
    if hint:
        print(hint)
    return 130 if stopped else 1 if broken else 0


def predict(predictor: 'Predictor', sources: 'list[Source]', out: str | Path,
            saves: Sequence[str], on_error: Callable, total: int | None = None) -> tuple[int, bool]:
    """Predict sources and write the results; reading and drawing overlap with the network.

    Args:
        predictor (Predictor): of the model.
        sources (list[Source]): images and videos.
        out (str | Path): folder of the results.
        saves (Sequence[str]): of ``SAVES``.
        on_error (Callable): gets a Frame and an InputError for what cannot be read.
        total (int, optional): number of images, for the progress bar.

    Returns:
        tuple[int, bool]: images that were predicted, and whether Ctrl-C stopped it.

    Raises:
        InputError: a result cannot be written, or the model fails.
    """
    from tqdm import tqdm

    from convnext_dense.prediction.ahead import map_ahead
    from convnext_dense.prediction.sources import frames_of
    done, stopped = 0, False
    writers = build_writers(saves, out, predictor)

    def prepare(pair):
        frame, result = pair
        return frame, [writer.prepare(frame, result) for writer in writers]

    try:
        with ThreadPoolExecutor(WRITERS, thread_name_prefix='write') as pool, \
                tqdm(total=total, unit='image', disable=None) as progress:
            pairs = predictor.stream_pairs(frames_of(sources, on_error), on_error)
            for frame, made in map_ahead(pool, prepare, pairs, WRITERS):
                for writer, part in zip(writers, made):
                    writer.write(frame, part)
                done += 1
                progress.update()
    except KeyboardInterrupt:
        stopped = True
    finally:
        for writer in writers:
            writer.close()
    return done, stopped


def build_writers(saves: Sequence[str], out: str | Path, predictor: 'Predictor') -> list:
    """The writers of what is saved."""
    from convnext_dense.prediction import writing
    wrong = dict(instances='labels', labels='yolo')[predictor.task]
    if wrong in saves:
        task = 'detector' if predictor.task == 'instances' else 'segmenter'
        raise InputError(f'--save {wrong}: a {task} has no such results; leave it out')
    makers = dict(images=lambda: writing.Drawings(out),
                  coco=lambda: writing.CocoFile(out, predictor.names),
                  labels=lambda: writing.LabelImages(out), csv=lambda: writing.CsvFile(out),
                  yolo=lambda: writing.YoloFiles(out, predictor.names))
    try:
        return [makers[name]() for name in dict.fromkeys(saves)]
    except OSError as error:
        raise InputError(f'{out} cannot be written: {error.strerror}') from error
