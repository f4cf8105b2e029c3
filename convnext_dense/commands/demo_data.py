"""Draw the embedded data set: pictures of shapes, annotated like COCO and like ADE20K."""
import argparse


def add_arguments(parser):
    parser.add_argument('--out', default='data/shapes', metavar='DIR',
                        help='folder of the data set (default: %(default)s)')
    parser.add_argument('--train', type=int, default=argparse.SUPPRESS, metavar='N',
                        help='number of training pictures')
    parser.add_argument('--val', type=int, default=argparse.SUPPRESS, metavar='N',
                        help='number of validation pictures')
    parser.add_argument('--size', type=int, default=argparse.SUPPRESS, metavar='PIXELS',
                        help='side of the pictures')


def run(args):
    from convnext_dense.data.shapes import write_shapes
    settings = {key: getattr(args, key) for key in ('train', 'val', 'size') if key in args}
    written = write_shapes(args.out, **settings)
    print(f'{args.out}: {"written" if written else "already there"}')
