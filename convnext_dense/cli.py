"""The command line: ``convnext-dense COMMAND ...``, which the scripts in tools/ call too.

A command is a module of ``convnext_dense.commands`` with ``add_arguments(parser)`` and
``run(args)``. Nothing heavy is imported before the arguments are parsed, so that ``--help``
answers at once.
"""
import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from convnext_dense import __version__
from convnext_dense.errors import InputError, in_one_line, printable

COMMANDS = {
    'new': 'from images and annotations to a folder that trains',
    'train': 'train a detector or segmenter',
    'test': 'evaluate a detector or segmenter',
    'report': 'the page of a training: curves, samples, worst images, what was skipped',
    'predict': 'boxes, masks and label maps of images, folders and videos',
    'serve': 'trained models behind a page in the browser and an HTTP endpoint',
    'export': 'a trained model for ONNX Runtime, OpenVINO and others',
    'list': 'architectures, published weights, data sets and configs',
    'explain': 'a config as a short sheet: model, data, schedule, memory',
    'plan': 'memory, communication and days of a training on many GPUs',
    'doctor': 'whether this machine and environment can train, and what mends it',
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


class Parser(argparse.ArgumentParser):
    """A parser that names the nearest option for one that it does not know."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            name = unknown[0].partition('=')[0]
            self.error(f'there is no argument {unknown[0]}' + nearest(name, known))
        return parsed


def nearest(word: str, known: Iterable[str]) -> str:
    """``; nearest: ...``, or nothing where no known word is like ``word``."""
    close = get_close_matches(word, known, n=1)
    return f'; nearest: {close[0]}' if close else ''


def command_parser(command: str, prog: str | None) -> tuple[Parser, ModuleType]:
    """Parser and module of a command."""
    module = import_module(f'convnext_dense.commands.{command.replace("-", "_")}')
    parser = Parser(prog=prog, description=module.__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, module)
    return parser, module


def add_arguments(parser: argparse.ArgumentParser, module: ModuleType) -> None:
    """A command's own arguments, and what all commands take."""
    module.add_arguments(parser)
    parser.add_argument('--debug', action='store_true', help='errors with their traceback')


def run_command(command: str, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Parse ``argv`` for ``command`` and run it.

    Returns:
        int: exit status: what the command returned (None is 0), 2 after an InputError, 130 after
        Ctrl-C, 1 after any other error.
    """
    parser, module = command_parser(command, prog)
    args = parser.parse_args(argv)
    args.argv = sys.argv[1:] if argv is None else list(argv)
    try:
        return module.run(args) or 0
    except InputError as error:
        if args.debug:
            raise
        print(f'error: {printable(str(error))}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('stopped by Ctrl-C', file=sys.stderr)
        return 130
    except Exception as error:
        if args.debug:
            raise
        print(f'error: {printable(in_one_line(error))}; {_keep_traceback()}--debug prints it',
              file=sys.stderr)
        return 1


def _keep_traceback():
    """Write the traceback that is being handled to a file; where that lies, for a message."""
    file = Path(tempfile.gettempdir()) / f'convnext-dense-{os.getpid()}.log'
    try:
        file.write_text(traceback.format_exc())
    except OSError:  # that disk is full, too
        return ''
    return f'the traceback is in {file}, '


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; ``argv`` is without the program's name."""
    argv = sys.argv[1:] if argv is None else argv
    if '_ARGCOMPLETE' in os.environ:
        complete()
    if not argv or argv[0] in ('-h', '--help'):
        print('usage: convnext-dense COMMAND [options]   (COMMAND --help for its options, '
              '--version)\n')
        for command, summary in COMMANDS.items():
            print(f'  {command:<22}{summary}')
        return 0
    if argv[0] == '--version':
        print(f'convnext-dense {__version__}')
        return 0
    if argv[0] not in COMMANDS:
        print(f'convnext-dense: there is no command {argv[0]!r}{nearest(argv[0], COMMANDS)} '
              '(convnext-dense --help lists them)', file=sys.stderr)
        return 2
    return run_command(argv[0], argv[1:], prog=f'convnext-dense {argv[0]}')


def complete() -> None:
    """Answer the shell that asks how to complete a line, and end the process.

    Turned on by ``eval "$(register-python-argcomplete convnext-dense)"``.
    """
    import argcomplete
    parser = argparse.ArgumentParser(prog='convnext-dense')
    commands = parser.add_subparsers()
    words = os.environ.get('COMP_LINE', '').split()
    for command in COMMANDS:
        subparser = commands.add_parser(command)
        if command in words[1:2]:  # the others' arguments are not asked for
            add_arguments(subparser, import_module(
                f'convnext_dense.commands.{command.replace("-", "_")}'))
    argcomplete.autocomplete(parser)


if __name__ == '__main__':
    sys.exit(main())
