"""Write a trained model for another runtime, try it there, and describe it in a model card.

The export is run on real images at once. It is kept only if its results are the model's.

convnext-dense export work_dirs/streets --to onnx
convnext-dense export CONFIG --weights WEIGHTS --to openvino --images photos/ --out exports/mine
"""
import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('model', help='work directory, checkpoint, published name, or config file')
    parser.add_argument('--weights', help='path, URL or published name of the weights, for a '
                        'config file')
    parser.add_argument('--to', default='onnx', choices=('onnx', 'openvino'),
                        help='(default: %(default)s)')
    parser.add_argument('--out', metavar='DIR', help='new folder of the export (default: '
                        'exports/MODEL-TO)')
    parser.add_argument('--output', choices=('labels', 'logits'), help='of a segmenter: label '
                        'maps of any size, or the logits of the head (default: labels; logits '
                        'for a model that looks in windows)')
    parser.add_argument('--normalise', action='store_true', help='the network takes uint8 pixels '
                        'in BGR order and normalises them')
    parser.add_argument('--images', nargs='+', default=[], metavar='SOURCE', help='image files '
                        "and folders to try it on (default: the config's test data)")
    parser.add_argument('--count', type=int, default=2, metavar='N',
                        help='images to try it on (default: %(default)s)')
    parser.add_argument('--data-root', metavar='DIR', help="folder of the config's data set")


def run(args: argparse.Namespace) -> None:
    from convnext_dense.commands.options import choose_device
    choose_device('cpu')
    from convnext_dense.export import ExportOptions, export_model
    out = Path(args.out or f'exports/{Path(args.model).stem}-{args.to}')
    card = export_model(args.model, out, args.weights, ExportOptions(
        target=args.to, output=args.output, normalise=args.normalise, images=args.images,
        count=args.count, data_root=args.data_root))
    print(f'{out}: {card["file"]} and its model card; use it with convnext-dense predict IMAGES '
          f'--model {out} --runtime {card["runtime"]}')
