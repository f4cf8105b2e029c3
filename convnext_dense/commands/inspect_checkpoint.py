"""Say what a checkpoint is: format, architecture, parameters, classes, state of training.

Nothing in the file is run, and no model is built.

convnext-dense inspect-checkpoint work_dirs/mine/epoch_36.pth
convnext-dense inspect-checkpoint convnext-tiny_in1k --keys --json
"""
import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('source', help='a file, URL or name of published weights')
    parser.add_argument('--prefix', help='look only at the tensors under this prefix')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.add_argument('--keys', action='store_true', help='print every name and shape, too')


def run(args: argparse.Namespace) -> None:
    import json

    from convnext_dense.checkpoints.inspection import inspect_checkpoint, summary
    from convnext_dense.errors import printable
    described = inspect_checkpoint(args.source, args.prefix)
    print(json.dumps(described, indent=1) if args.json else summary(described))
    if args.keys:
        from convnext_dense.checkpoints import locate, read_checkpoint, state_dict_of
        state = state_dict_of(read_checkpoint(locate(args.source)), args.source, args.prefix)
        for key, tensor in state.items():
            print(printable(key), tuple(tensor.shape))
