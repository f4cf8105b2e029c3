"""Trained models behind a page in the browser, and an HTTP endpoint beside it.

convnext-dense serve work_dirs/fruit
convnext-dense serve work_dirs/convnext work_dirs/swin --port 8080
convnext-dense serve exports/fruit --runtime openvino

Drop images in the page: it shows boxes, masks or label maps, moves the threshold without a new
inference, and puts two models side by side.
"""
import argparse
import os
import time

from convnext_dense.commands.options import add_predictor_options, choose_device
from convnext_dense.errors import InputError, printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('models', nargs='+', metavar='MODEL', help='one or two, to compare them: '
                        'work directory, checkpoint, published name, config file (Python code, '
                        'which runs), or export')
    parser.add_argument('--weights', nargs='+', metavar='WEIGHTS', help='path, URL or published '
                        'name of the weights of each model, for config files')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen at; at another '
                        'than this machine alone a token is needed (default: %(default)s)')
    parser.add_argument('--port', type=int, default=8000, help='0 is a free one (default: '
                        '%(default)s)')
    parser.add_argument('--token', help='what everybody must know; on another host one is made '
                        'and printed if none is given (environment: CONVNEXT_DENSE_TOKEN)')
    parser.add_argument('--threshold', type=float, default=.3, metavar='SCORE', help='least score '
                        'of an object at first (default: %(default)s)')
    parser.add_argument('--lowest', type=float, default=.05, metavar='SCORE', help='least score '
                        'that may be asked for (default: %(default)s)')
    parser.add_argument('--max-upload', type=float, default=32, metavar='MIB', help='size of a '
                        'file (default: %(default)s)')
    parser.add_argument('--max-megapixels', type=float, default=25, metavar='MILLIONS', help='of '
                        'an image, known before it is decoded (default: %(default)s)')
    parser.add_argument('--queue', type=int, default=8, metavar='N', help='requests that may wait '
                        'for a model (default: %(default)s)')
    add_predictor_options(parser)


def run(args: argparse.Namespace) -> int:
    check_options(args)
    from convnext_dense.web.server import Entrance, check_packages, listen, run_server
    check_packages()
    with listen(args.host, args.port) as listening:
        entrance = Entrance(args.host, listening,
                            args.token or os.environ.get('CONVNEXT_DENSE_TOKEN'))
        pixels = int(args.max_megapixels * 1e6)
        # the decoder's own limit, for files whose header says one size and whose content another
        os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(pixels))
        models = load_models(args)
        from convnext_dense.web.app import Limits, build_app
        limits = Limits(args.threshold, args.lowest, int(args.max_upload * 2**20), pixels,
                        args.queue)
        app = build_app(models, limits, token=entrance.token, hosts=entrance.hosts,
                        cookie=entrance.cookie)
        print(f'serving {" and ".join(printable(model.name) for model in models)} at '
              f'{entrance.url}   (Ctrl-C ends it)', flush=True)
        run_server(app, listening)
    return 0


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that cannot be, before anything is imported.

    Raises:
        InputError: one of them.
    """
    if len(args.models) > 2:
        raise InputError(f'{len(args.models)} models: give one, or two to compare them')
    if args.weights and len(args.weights) != len(args.models):
        raise InputError(f'--weights names {len(args.weights)} files for {len(args.models)} '
                         'models; name one for each')
    if not 0 <= args.lowest <= args.threshold <= 1:
        raise InputError(f'--threshold {args.threshold} and --lowest {args.lowest}: give scores '
                         'in [0, 1], the lowest no larger than the threshold')
    for name in ('max_upload', 'max_megapixels'):
        if not 0 < getattr(args, name) < 1e6:
            raise InputError(f'--{name.replace("_", "-")} {getattr(args, name)}: give a positive '
                             'number')
    if args.queue < 0:
        raise InputError(f'--queue {args.queue}: give a number from 0 on')


def load_models(args: argparse.Namespace) -> list:
    """The models of the command line as the application serves them.

    Raises:
        InputError: one cannot be loaded.
    """
    from convnext_dense.prediction.exported import is_export
    exports = [is_export(model) for model in args.models]
    device = choose_device('cpu' if args.device is None and all(exports) else args.device)
    from convnext_dense.commands.process import set_up_process
    from convnext_dense.prediction import Predictor
    from convnext_dense.web.serving import ServedModel, short_names
    set_up_process(device, keep_memory=False)  # images of all sizes come one after the other
    served = []
    for name, model, weights, exported in zip(
            short_names(args.models), args.models, args.weights or [None] * 2, exports):
        begin = time.perf_counter()
        predictor = Predictor(
            model, weights, device='cpu' if exported else device, threshold=args.lowest,
            tile=args.tile, overlap=args.overlap, precision=args.precision,
            runtime=args.runtime if exported or not any(exports) else None)
        print(f'{printable(predictor.source)} loaded in {time.perf_counter() - begin:.1f} s',
              flush=True)
        served.append(ServedModel(name, predictor))
    return served
