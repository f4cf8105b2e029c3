"""Write the report of a training as one HTML page that needs nothing else.

A training writes report.html in its work directory by itself, which reloads while it goes on. This
writes it again after a kill, or for a training of an earlier version, of its curves alone.

convnext-dense report work_dirs/fruit
convnext-dense report work_dirs/fruit --out fruit.html
"""
import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('work_dir', metavar='WORK_DIR', help='work directory of a training')
    parser.add_argument('--out', metavar='FILE', help='the page (default: report.html in WORK_DIR)')


def run(args: argparse.Namespace) -> None:
    from pathlib import Path

    from convnext_dense.analysis.run_report import write_run_report
    from convnext_dense.errors import InputError
    if not Path(args.work_dir).is_dir():
        raise InputError(f'{args.work_dir}: no such folder; give the work directory of a training')
    try:
        page = write_run_report(args.work_dir, args.out)
    except OSError as error:
        raise InputError(f'{error.filename or args.out or args.work_dir} cannot be written: '
                         f'{error.strerror}; give another --out') from error
    print(f'report: {page.resolve().as_uri()}')
