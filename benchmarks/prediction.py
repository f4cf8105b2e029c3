"""convnext-dense predict: ``python -m benchmarks.prediction --model WORK_DIR --images FOLDER``.

Four figures: seconds from the start of the command to the end of its first prediction, in a
process of its own; images a second through the whole command, beside those of the network alone on
the same images, read and packed before; seconds and memory of a large photo, of which masks are
given as crops and, in turns, in the image's size; and the memory over many images.
"""
import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import psutil
import torch
from mmengine.dataset import pseudo_collate

from benchmarks.measuring import reset_peak, resident
from convnext_dense.commands.predict import DEFAULT_SAVES, predict
from convnext_dense.detection.mask_head import FCNMaskHead
from convnext_dense.prediction import Predictor
from convnext_dense.prediction.sources import find_sources


def seconds_to_first(model, image, folder):
    """Seconds that the command takes for one image, on the clock and of the processor."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, '-m', 'convnext_dense.cli', 'predict', str(image), '--model',
                    model, '--out', str(folder)], check=True, capture_output=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, (used.ru_utime + used.ru_stime - before.ru_utime -
                                         before.ru_stime)


def network_rate(predictor, sources):
    """Images a second of the network alone."""
    inputs = [predictor.input.pack(*predictor.input.read(source.place)) for source in sources]
    with torch.no_grad():
        predictor.model.test_step(pseudo_collate(inputs[:1]))
        start = time.perf_counter()
        for packed in inputs:
            predictor.model.test_step(pseudo_collate([packed]))
    return len(inputs) / (time.perf_counter() - start)


def folder_rate(predictor, sources, folder):
    """Images a second from files to files: annotated images and JSON, or label maps."""
    start = time.perf_counter()
    done, _ = predict(predictor, sources, folder, DEFAULT_SAVES[predictor.task], _raise)
    return done / (time.perf_counter() - start)


def large_image(predictor, heads, pixels, rounds):
    """Objects of an image; seconds and the most MiB beyond the model, by ``cropped`` of heads."""
    found, costs = {}, {True: [], False: []}
    for _ in range(rounds):
        for cropped in costs:
            for head in heads:
                head.cropped = cropped
            reset_peak()
            before, start = resident('VmRSS'), time.perf_counter()
            found[cropped] = predictor(pixels)
            costs[cropped].append((time.perf_counter() - start, resident('VmHWM') - before))
    if not np.array_equal(found[True].boxes, found[False].boxes) or not all(
            one[:2] == other[:2] and np.array_equal(one.pixels, other.pixels)
            for one, other in zip(found[True].mask_crops, found[False].mask_crops, strict=True)):
        raise RuntimeError('the two ways give different objects')
    return len(found[True]), {cropped: [median(values) for values in zip(*costs[cropped])]
                              for cropped in costs}


def memory_over(predictor, images, count, folder, step=100):
    """Resident memory in MB after each ``step`` of ``count`` images, copies of the given ones."""
    originals = folder / 'in'
    originals.mkdir()
    for index in range(count):
        source = images[index % len(images)]
        shutil.copy(source.place, originals / f'{index:05d}{Path(source.place).suffix}')
    process, seen, sizes = psutil.Process(), 0, []
    stream = predictor.stream_pairs

    def watched(*args):
        nonlocal seen
        for pair in stream(*args):
            yield pair
            seen += 1
            if not seen % step:
                sizes.append(process.memory_info().rss / 2**20)

    predictor.stream_pairs = watched
    predict(predictor, find_sources([str(originals)]), folder / 'out',
            DEFAULT_SAVES[predictor.task], _raise)
    del predictor.stream_pairs
    return sizes


def _raise(frame, error):
    raise error


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', required=True, help='what predict takes as --model')
    parser.add_argument('--images', required=True, help='folder of images')
    parser.add_argument('--rounds', type=int, default=5, help='of each rate, in turns')
    parser.add_argument('--most', type=int, default=100, help='images of a round')
    parser.add_argument('--large', type=float, default=24, metavar='MILLIONS', help='of pixels of '
                        'a large photo; 0 leaves it out')
    parser.add_argument('--memory', type=int, default=1000, metavar='N',
                        help='images over which the memory is watched; 0 leaves it out')
    args = parser.parse_args()
    sources = find_sources([args.images])[:args.most]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        starts, used = zip(*(seconds_to_first(args.model, sources[0].place, folder / 'first')
                             for _ in range(3)))
        print(f'one image, start to end of the command: {median(starts):.1f} s '
              f'({min(starts):.1f}-{max(starts):.1f}), of the processor {median(used):.1f} s')
        predictor = Predictor(args.model)
        rates = [(network_rate(predictor, sources), folder_rate(predictor, sources, folder / 'out'))
                 for _ in range(args.rounds)]
        shares = [whole / alone for alone, whole in rates]
        print(f'{len(sources)} images: network alone {median(a for a, _ in rates):.2f}/s, files to '
              f'files {median(b for _, b in rates):.2f}/s, share {median(shares):.3f} '
              f'({min(shares):.3f}-{max(shares):.3f})')
        heads = [part for part in predictor.model.modules() if isinstance(part, FCNMaskHead)]
        if args.large and heads:
            pixels, _ = predictor.input.read(sources[0].place)
            factor = (args.large * 1e6 / (pixels.shape[0] * pixels.shape[1])) ** .5
            pixels = cv2.resize(pixels, None, fx=factor, fy=factor)
            objects, costs = large_image(predictor, heads, pixels, args.rounds)
            for cropped, words in ((True, 'as crops'), (False, "in the image's size")):
                print(f'a photo of {pixels.shape[1]}x{pixels.shape[0]}, {objects} objects, masks '
                      '{}: {:.2f} s, {:.0f} MiB'.format(words, *costs[cropped]))
        if args.memory:
            sizes = memory_over(predictor, sources, args.memory, folder)
            print('memory after each 100 images, MB: ' + ' '.join(f'{size:.0f}' for size in sizes))


if __name__ == '__main__':
    main()
