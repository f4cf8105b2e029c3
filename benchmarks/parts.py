"""What each part of the acceleration brings: ``python -m benchmarks.parts [ROW ...]``.

A row of ``benchmarks.peers`` is measured as it is and with one part switched off at a time, in one
process, in turns, after the outputs were compared. A gain is the time without the part over the
time with all, in the same round: the median and the range. ``--docs`` puts the table into a file.
"""
import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from benchmarks import measuring
from benchmarks.rows import Side, load_rows

ROOM = 'convnext_dense/'
CPU = 'convnext_dense.acceleration.cpu'
BEGIN, END = '<!-- python -m benchmarks.parts -->', '<!-- end of the parts -->'
BACKBONES = tuple(f'backbone-{version}-{mode}' for version in ('v1', 'v2')
                  for mode in ('training', 'inference'))
TRAINING = (*(name for name in BACKBONES if 'training' in name), 'cascade-training',
            'upernet-training')
INFERENCE = (*(name for name in BACKBONES if 'inference' in name), 'cascade-inference-480x640',
             'upernet-inference-whole')
CASCADE = ('cascade-training', 'cascade-inference-480x640')
UPERNET = ('upernet-training', 'upernet-inference-whole')
DINO = ('dino-inference', 'dino-training')
MASK2FORMER = ('mask2former-inference', 'mask2former-training')


class Part(NamedTuple):
    """A part that can be switched off.

    Attributes:
        rows (tuple[str]): in which it takes part.
        files (tuple[str]): where it is, below the package.
        off (Callable): gives a context manager in which it is off.
    """
    rows: tuple[str, ...]
    files: tuple[str, ...]
    off: Callable


@contextmanager
def replaced(*pairs: tuple[str, str]) -> Iterator[None]:
    """Attributes, by their dotted names, replaced by other ones."""
    from pkgutil import resolve_name
    with ExitStack() as stack:
        for name, other in pairs:
            holder, _, attribute = name.rpartition('.')
            stack.enter_context(mock.patch.object(
                resolve_name(holder), attribute, resolve_name(other)))
        yield


def in_turn(function: Callable, pieces: list) -> None:
    """What ``for_each`` does without threads of its own."""
    for piece in pieces:
        function(piece)


def nothing(*_args, **_kwargs) -> int:
    return 0


def nothing_folded(_model) -> tuple[int, int]:
    return 0, 0


def never(_x) -> bool:
    return False


@contextmanager
def type_of(ours: str, theirs: str) -> Iterator[None]:
    """Models are built with OpenMMLab's class in place of ours."""
    from benchmarks import rows_inference, rows_training
    from convnext_dense.config_nodes import nested
    plain = rows_inference.config

    def config(name):
        cfg = plain(name)
        for node in nested(cfg.model):
            if node.get('type') == ours:
                node['type'] = theirs
                if theirs == 'mmseg.EncoderDecoder':
                    node.test_cfg.pop('keep_logits', None)
        return cfg

    with mock.patch.object(rows_inference, 'config', config):
        rows_training.state.cache_clear()
        rows_inference.state.cache_clear()
        yield


BLOCK = 'convnext_dense.models.convnext.Block.compute'
PARTS = {
    'gradients of blocks by hand': Part(
        TRAINING, ('acceleration/cpu/block.py', 'acceleration/cpu/pointwise.py'),
        partial(replaced, (f'{CPU}.block.CpuBlock.compute', BLOCK))),
    'linear layers by oneDNN': Part(
        (*BACKBONES, *CASCADE[1:]), ('acceleration/cpu/linear.py', ),
        partial(replaced, (f'{CPU}.linear._by_onednn', 'benchmarks.parts.never'))),
    'folding': Part(
        INFERENCE, ('acceleration/folding.py', ),
        partial(replaced, ('convnext_dense.acceleration.folding.fold',
                           'benchmarks.parts.nothing_folded'))),
    'wide maps in chunks': Part(
        INFERENCE, ('acceleration/cpu/inference_block.py', ),
        partial(replaced, (f'{CPU}.inference_block.InferenceBlock.compute', BLOCK))),
    'Winograd in inference': Part(
        INFERENCE[-2:], ('acceleration/cpu/winograd.py', ),
        partial(replaced, (f'{CPU}.winograd.WinogradConv2d._conv_forward',
                           'torch.nn.Conv2d._conv_forward'))),
    'Winograd on RoIs': Part(
        CASCADE[1:], ('acceleration/cpu/winograd_stack.py', 'acceleration/cpu/threads.py'),
        partial(replaced, (f'{CPU}.winograd_stack.stack_convolutions',
                           'benchmarks.parts.nothing'))),
    'threads of its own': Part(
        CASCADE[1:], ('acceleration/cpu/threads.py', ),
        partial(replaced, (f'{CPU}.winograd_stack.for_each', 'benchmarks.parts.in_turn'))),
    'RPNHead': Part(
        CASCADE, ('detection/rpn_head.py', ),
        partial(type_of, 'convnext_dense.RPNHead', 'mmdet.RPNHead')),
    'RoIAlign': Part(
        CASCADE, ('detection/roi_align.py', 'detection/roi_extractor.py'),
        partial(type_of, 'convnext_dense.SingleRoIExtractor', 'mmdet.SingleRoIExtractor')),
    'FCNMaskHead': Part(
        CASCADE, ('detection/mask_head.py', 'detection/mask_pasting.py',
                  'detection/mask_targets.py'),
        partial(type_of, 'convnext_dense.FCNMaskHead', 'mmdet.FCNMaskHead')),
    'CascadeRoIHead': Part(
        CASCADE[1:], ('detection/roi_heads.py', ),
        partial(type_of, 'convnext_dense.CascadeRoIHead', 'mmdet.CascadeRoIHead')),
    'UPerHead': Part(
        UPERNET, ('segmentation/uper_head.py', ),
        partial(type_of, 'convnext_dense.UPerHead', 'mmseg.UPerHead')),
    'EncoderDecoder': Part(
        UPERNET[1:], ('segmentation/encoder_decoder.py', 'segmentation/label_map.py'),
        partial(type_of, 'convnext_dense.EncoderDecoder', 'mmseg.EncoderDecoder')),
    'deformable attention': Part(
        (*DINO, *MASK2FORMER), ('acceleration/cpu/deformable_attention.py', ),
        partial(replaced, (f'{CPU}.deformable_attention.DeformableAttention.forward',
                           'mmcv.ops.MultiScaleDeformableAttention.forward'))),
    'feed-forward in chunks': Part(
        (*DINO, *MASK2FORMER), ('acceleration/cpu/feed_forward.py', ),
        partial(replaced, (f'{CPU}.feed_forward.ChunkedFFN.forward',
                           'mmcv.cnn.bricks.transformer.FFN.forward'))),
    'attention without weights': Part(
        (*DINO, *MASK2FORMER), ('acceleration/cpu/attention.py', ),
        partial(replaced, (f'{CPU}.attention.AttentionWithoutWeights.forward',
                           'torch.nn.MultiheadAttention.forward'))),
    'Mask2FormerHead': Part(
        MASK2FORMER[1:], ('detection/mask2former_head.py', ),
        partial(type_of, 'convnext_dense.Mask2FormerHead', 'mmdet.Mask2FormerHead')),
    'MaskFormerFusionHead': Part(
        MASK2FORMER[:1], ('detection/mask2former.py', ),
        partial(type_of, 'convnext_dense.MaskFormerFusionHead', 'mmdet.MaskFormerFusionHead')),
}


def without(part: Part, builder: Callable[[], Side]) -> Side:
    """A side that is built and runs with the part off."""
    with part.off():
        side = builder()

    def inside(call):
        def run():
            with part.off():
                return call()
        return run
    return Side(inside(side.step), side.outputs and inside(side.outputs))


def measure(row, seconds: float, report: Callable[[str], None], clock: str = 'wall'
            ) -> list[str]:
    """The lines of the table for one row."""
    parts = {name: part for name, part in PARTS.items() if row.name in part.rows}
    builder = row.sides()['ours']
    sides = {'ours': builder()}
    for name, part in parts.items():
        sides[name] = without(part, builder)
    outputs = {name: (side.outputs or side.step)() for name, side in sides.items()}
    ours, lines = outputs.pop('ours'), []
    for name, theirs in outputs.items():
        if row.compare is None:  # detections and label maps: the row of benchmarks.peers compares
            report(f'{row.name}: {name}: '
                   f'{measuring.compare_tensors(ours, theirs, row.tolerance)}')
    runs, _ = measuring.measure_time(sides, seconds, clock=clock)
    for name, part in parts.items():
        gain = measuring.ratios(runs[name], runs['ours'])
        count = sum(len(Path(f'{ROOM}{file}').read_text().splitlines()) for file in part.files)
        lines.append(f'| {name} | {row.title} | {gain["ratio"]:.2f} ({gain["least"]:.2f}-'
                     f'{gain["greatest"]:.2f}) | {count} |')
        report(lines[-1])
    return lines


def main() -> None:
    known = sorted({name for part in PARTS.values() for name in part.rows})
    parser = argparse.ArgumentParser(prog='python -m benchmarks.parts', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog='rows: ' + ', '.join(known))
    parser.add_argument('rows', nargs='*', metavar='ROW', help='default: all')
    parser.add_argument('--seconds', type=float, default=30., help='spent on the rounds of a row, '
                        'which are 3 at least (default: %(default)g)')
    parser.add_argument('--clock', choices=measuring.CLOCKS, default='wall',
                        help='see benchmarks.peers')
    parser.add_argument('--docs', metavar='FILE', help='Markdown file that shows the table')
    args = parser.parse_args()
    unknown = [name for name in args.rows if name not in known]
    if unknown:
        raise SystemExit(f'no row {unknown[0]}; there are {", ".join(known)}')
    rows = load_rows()

    def report(line):
        print(line, file=sys.stderr, flush=True)
    found = [line for name in args.rows or known
             for line in measure(rows[name], args.seconds, report, args.clock)]
    order = list(PARTS)
    found.sort(key=lambda line: order.index(line.split(' | ')[0].removeprefix('| ')))
    table = '\n'.join(['| part | row | time without it, over ours (range) | lines |',
                       '|---|---|---|---|', *found])
    print(table)
    if args.docs:
        from benchmarks.peers import write_docs
        write_docs(args.docs, table, BEGIN, END)


if __name__ == '__main__':
    main()
