"""List what the package offers: architectures, published weights, data sets, configs.

Every name is one that the other commands take. Words after the kind filter: a row must hold all.

convnext-dense list weights ade20k in22k
convnext-dense list configs cascade v2 --json
convnext-dense list models
"""
import argparse

from convnext_dense.errors import InputError

KINDS = ('models', 'weights', 'datasets', 'configs')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('kind', nargs='?', choices=KINDS, help='what to list (default: all)')
    parser.add_argument('words', nargs='*', metavar='WORD',
                        help='only rows that hold all of these, such as a licence or a size')
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args: argparse.Namespace) -> None:
    import json

    from convnext_dense.analysis.listing import notes, rows, table
    found = {kind: rows(kind, args.words) for kind in ([args.kind] if args.kind else KINDS)}
    if not any(found.values()):
        raise InputError(f'list {args.kind}: no row holds {" and ".join(args.words)}; '
                         f'`convnext-dense list {args.kind}` shows all')
    if args.json:
        print(json.dumps(found[args.kind] if args.kind else found, indent=1))
        return
    print('\n\n'.join('\n'.join([*([] if args.kind else [kind]), table(kind, listed),
                                  *notes(listed)]) for kind, listed in found.items()))
