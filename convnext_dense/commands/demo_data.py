"""Draw the embedded data set: images of shapes, annotated like COCO and like ADE20K.

convnext-dense demo-data --out data/shapes
convnext-dense demo-data --out data/few --train 4 --val 2 --size 64
"""
import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', default='data/shapes', metavar='DIR',
                        help='folder of the data set (default: %(default)s)')
    parser.add_argument('--train', type=int, default=argparse.SUPPRESS, metavar='N',
                        help='number of training images')
    parser.add_argument('--val', type=int, default=argparse.SUPPRESS, metavar='N',
                        help='number of validation images')
    parser.add_argument('--size', type=int, default=argparse.SUPPRESS, metavar='PIXELS',
                        help='side of the images')


def run(args: argparse.Namespace) -> None:
    from convnext_dense.datasets.shapes import write_shapes
    settings = {key: getattr(args, key) for key in ('train', 'val', 'size') if key in args}
    written = write_shapes(args.out, **settings)
    print(f'{args.out}: {"written" if written else "already there"}')
