"""Write weights under the names of another format: for timm, transformers, torchvision,
mmpretrain, the official code, or as safetensors for deployment.

A detector or segmenter keeps its heads where the format has names for them (official,
mmpretrain, swin, swin-openmmlab); for the others its backbone is written.

convnext-dense convert-checkpoint convnext-tiny_in1k tiny.safetensors --to timm
convnext-dense convert-checkpoint work_dirs/mine/epoch_36.pth deployed.safetensors --licence MIT
"""
import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('source', help='a file, URL or name of published weights')
    parser.add_argument('out', help='.safetensors, .pth, .pt or .bin')
    parser.add_argument('--to', help='official, fcmae, timm, timm-features, torchvision, '
                        'transformers, mmpretrain, swin, swin-openmmlab (default: as it is)')
    parser.add_argument('--backbone-only', action='store_true', help='leave neck and heads out')
    parser.add_argument('--drop', nargs='+', default=[], metavar='NAME',
                        help='leave out tensors whose names start so, e.g. the heads of other '
                        'classes before fine-tuning')
    parser.add_argument('--prefix', help='write only the tensors under this prefix, such as '
                        'teacher, and take it away')
    parser.add_argument('--licence', help='note this licence in a safetensors file')
    parser.add_argument('--trust-pickle', action='store_true',
                        help='DANGEROUS: run the code that SOURCE holds, for files that only '
                        'full unpickling can read')


def run(args: argparse.Namespace) -> None:
    from convnext_dense.checkpoints.export import convert_checkpoint
    meta = convert_checkpoint(args.source, args.out, args.to, args.backbone_only, args.drop,
                              args.licence, args.trust_pickle, args.prefix)
    described = ', '.join(f'{key} {value}' for key, value in meta.items()
                          if key not in ('format', 'classes'))
    print(f'{args.out}: {described}')
