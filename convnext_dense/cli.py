"""The command line: ``convnext-dense COMMAND ...``, which the scripts in tools/ call too.

A command is a module of ``convnext_dense.commands`` with ``add_arguments(parser)`` and
``run(args)``. Nothing heavy is imported before the arguments are parsed, so that ``--help``
answers at once.
"""
import argparse
import sys
from importlib import import_module

from convnext_dense.errors import InputError

COMMANDS = {
    'new': 'from images and annotations to a folder that trains',
    'train': 'train a detector or segmenter',
    'test': 'evaluate a detector or segmenter',
    'predict': 'boxes, masks and label maps of images, folders and videos',
    'demo': 'train and evaluate a detector and a segmenter on images of shapes',
    'complexity': 'parameters and multiply-adds, beside the published figures',
    'benchmark': 'speed and memory of several models, by stage',
    'compare': 'report that compares models: accuracy, cost, published figures',
    'convert-checkpoint': 'weights in the names of another format, or as safetensors',
    'inspect-checkpoint': 'what a checkpoint is: format, arch, parameters, classes',
    'demo-data': 'draw the images of shapes',
    'prepare-data': 'fetch and verify COCO or ADE20K',
    'check-data': 'check the data sets of a config before training',
}


def command_parser(command, prog):
    module = import_module(f'convnext_dense.commands.{command.replace("-", "_")}')
    parser = argparse.ArgumentParser(
        prog=prog, description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    return parser, module


def run_command(command, argv=None, prog=None):
    """Parse ``argv`` for ``command`` and run it.

    Returns:
        int: exit status: what the command returned (None is 0), 2 after an InputError, or 130
        after Ctrl-C.
    """
    parser, module = command_parser(command, prog)
    args = parser.parse_args(argv)
    try:
        return module.run(args) or 0
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('stopped by Ctrl-C', file=sys.stderr)
        return 130


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ('-h', '--help') or argv[0] not in COMMANDS:
        print('usage: convnext-dense COMMAND [options]   (COMMAND --help for its options)\n')
        for command, summary in COMMANDS.items():
            print(f'  {command:<22}{summary}')
        return 0 if not argv or argv[0] in ('-h', '--help') else 2
    return run_command(argv[0], argv[1:], prog=f'convnext-dense {argv[0]}')


if __name__ == '__main__':
    sys.exit(main())
