"""Fetch, verify and unpack COCO 2017 or ADE20K; quick and harmless when run again.

convnext-dense prepare-data coco --root data/coco
convnext-dense prepare-data ade20k --check
"""
import argparse

from convnext_dense.command_names import typed
from convnext_dense.datasets.benchmarks import BENCHMARKS
from convnext_dense.errors import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('dataset', choices=list(BENCHMARKS), help='which data set')
    parser.add_argument('--root', help='data root, what --data-root of train and test takes '
                        f'(default: {", ".join(f"{b.root} for {n}" for n, b in BENCHMARKS.items())}'
                        ', which the configs name)')
    parser.add_argument('--splits', nargs='+', choices=['train', 'val'],
                        default=['train', 'val'], help='fetch only these (default: both)')
    parser.add_argument('--check', action='store_true', help='only verify: every file is there, '
                        'none is empty, annotations and images match')
    parser.add_argument('--archives', help='folder for the archives; those that are there '
                        'already are verified and used, and all stay (default: ROOT/archives, '
                        'where each is deleted once it is unpacked)')
    parser.add_argument('--keep-archives', action='store_true', help='delete nothing in '
                        'ROOT/archives')
    parser.add_argument('--mirror', metavar='URL', help='fetch the archives from this folder; '
                        'their hashes are checked all the same')


def run(args: argparse.Namespace) -> int:
    from convnext_dense.datasets.prepare import prepare, problems
    benchmark = BENCHMARKS[args.dataset]
    root = args.root or benchmark.root
    if not args.check:
        found = prepare(benchmark, root, args.splits, args.archives, args.mirror,
                        args.keep_archives)
    else:
        found = problems(benchmark, root, args.splits, deep=True)
    for problem in found[:20]:
        print(printable(str(problem)))
    if len(found) > 20:
        print(f'and {len(found) - 20} more problems')
    if found:
        print(f'{benchmark.title} in {root} is not whole'
              + (f'; run {typed("prepare-data")} {args.dataset} --root {root}' if args.check else
                 '; delete what is wrong and run this again'))
        return 1
    for folder in benchmark.folders:
        if folder.split in args.splits:
            print(f'{folder.path}: {folder.number} files')
    print(f'{benchmark.title} in {root} is whole')
    return 0
