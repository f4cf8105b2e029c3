"""From images and annotations to a folder that trains: data, a config and the reasons for it.

Reads COCO, YOLO, Pascal VOC, LabelMe, CVAT, colour masks, index masks and binary masks, in a folder
or a zip, with or without a split.

Examples:
  convnext-dense new fruit --data ~/fruit_photos
  convnext-dense new road --data camvid.zip --colours road=128,64,128 sky=128,128,128
  convnext-dense new cells --data cells_coco --size 640 --batch 8
"""
import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from convnext_dense.datasets.importers.names import FORMAT_NAMES
    parser.add_argument('dir', metavar='DIR', help='the folder to make')
    parser.add_argument('--data', required=True, metavar='SOURCE',
                        help='folder or zip with the images and annotations')
    parser.add_argument('--format', choices=FORMAT_NAMES,
                        help='where SOURCE holds several (default: it is recognised)')
    parser.add_argument('--classes', metavar='NAMES',
                        help='class names of index or binary masks: a,b,c or a file of one a line')
    parser.add_argument('--colours', nargs='+', metavar='NAME=R,G,B',
                        help='colours of colour masks, or one file with such a table')
    parser.add_argument('--seed', type=int, default=0,
                        help='of the split, where the source has none')
    parser.add_argument('--copy', action='store_true',
                        help='copy the images (default: link to them)')
    parser.add_argument('--weights', default='auto', metavar='auto|none|NAME|PATH',
                        help="where the backbone starts (default: published weights where they "
                        'can be had, else nothing)')
    parser.add_argument('--batch', type=int, metavar='N',
                        help='images a step (default: what fits the data and the machine)')
    parser.add_argument('--size', type=int, metavar='PIXELS', help='long side of the images that '
                        'the model sees (default: so that its objects can be seen)')
    parser.add_argument('--device', choices=['cpu', 'cuda'],
                        help='plan for it (default: cuda where there is one)')


def run(args: argparse.Namespace) -> int:
    from convnext_dense.datasets.importers.options import Options, class_names, parse_colours
    from convnext_dense.errors import printable
    from convnext_dense.planning.project import make_project
    options = Options(classes=class_names(args.classes) if args.classes else None,
                      colours=parse_colours(args.colours) if args.colours else None)
    project = make_project(Path(args.dir), Path(args.data).expanduser(), args.format, options,
                           args.seed, args.copy, args.weights, args.device, args.batch,
                           args.size)
    print('\n'.join(map(printable, project.lines())))
    return 0
