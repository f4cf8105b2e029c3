"""Write a trained model for another runtime, try it there, and describe it in a model card.

The export is run on real images at once. It is kept only if its results are the model's.

convnext-dense export work_dirs/streets --to onnx
convnext-dense export CONFIG --weights WEIGHTS --to openvino --images photos/ --out exports/mine
"""
import argparse
from pathlib import Path
from shlex import quote


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('model', help='work directory, checkpoint, published name, or config file')
    parser.add_argument('--weights', help='path, URL or published name of the weights, for a '
                        'config file')
    parser.add_argument('--to', default='onnx', choices=(
        'onnx', 'openvino', 'torch', 'aotinductor', 'tensorrt-onnx'), help='(default: %(default)s)')
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
    parser.add_argument('--int8', action='store_true', help='quantise after training (onnx, '
                        'openvino), and print what that costs in AP or mIoU')
    parser.add_argument('--calibrate', nargs='+', default=[], metavar='SOURCE', help='image files '
                        "and folders for --int8 (default: the config's training data)")
    parser.add_argument('--calibration-count', type=int, default=100, metavar='N',
                        help='images for --int8 (default: %(default)s)')
    parser.add_argument('--evaluate', type=int, metavar='N', help='evaluate model and export on '
                        'so many images of the test data (default: 0, with --int8 200)')
    parser.add_argument('--data-root', metavar='DIR', help="folder of the config's data set")


def run(args: argparse.Namespace) -> None:
    from convnext_dense.commands.options import choose_device
    choose_device('cpu')
    from convnext_dense.commands.process import set_up_process
    from convnext_dense.export import ExportOptions, export_model
    set_up_process('cpu')
    out = Path(args.out or f'exports/{Path(args.model).stem}-{args.to}')
    card = export_model(args.model, out, args.weights, ExportOptions(
        target=args.to, output=args.output, normalise=args.normalise, images=args.images,
        count=args.count, data_root=args.data_root, int8=args.int8, calibration=args.calibrate,
        calibration_count=args.calibration_count, evaluate=args.evaluate))
    print(f'{out}: {card["file"]} and its model card; {fastest(card, out)}')


def fastest(card: dict, out: Path) -> str:
    """What is fastest on this machine, and how to use it: the words after an export."""
    seconds = card['speed']['seconds']
    best = min(seconds, key=lambda name: seconds[name])
    own = min(seconds['torch'], seconds['prepared'])
    if best in ('torch', 'prepared'):
        other = min(value for name, value in seconds.items() if name not in ('torch', 'prepared'))
        return (f'on this machine the model in torch is {other / own:.2f} times as fast as its '
                'exports')
    runtime, _, precision = best.partition(' ')
    options = f'--runtime {runtime.removesuffix(".export")}'
    options += f' --precision {precision}' if precision else ''
    return (f'{best} is {own / seconds[best]:.2f} times as fast as predict and test in torch: '
            f'convnext-dense predict IMAGES --model {quote(str(out))} {options}')
