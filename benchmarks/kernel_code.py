"""What the compiler makes of the kernels, without a GPU: ``python -m benchmarks.kernel_code``.

Compiles the first plans of each kernel for a compute capability, and prints registers of a thread,
bytes of spilled registers and of shared memory, resident warps that the registers allow, and how
many of the instructions of the hottest loop are multiply-adds: the most of the float32 rate that
it can reach.
"""
import argparse
import re
import subprocess
import tempfile
from pathlib import Path

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from convnext_dense.acceleration.triton import activation, depthwise, norm, plans, residual

TOOLS = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin'
REGISTERS, MOST_WARPS = 65536, 64  # of a multiprocessor
ROW = '| {:<24} | {:>4} | {:<17} | {:>9} | {:>5} | {:>6} | {:>5} | {:>10} |'
HEAD = ('kernel', 'C', 'tile', 'registers', 'spill', 'shared', 'warps', 'FMA / loop')


def cases(channels):
    """(name, kernel, constants, tile, whether maps are 16 bit by name) of each kernel."""
    tile = plans.fused_tiles(channels)[0]
    for keep in (False, True):
        yield ('convolution + norm' + (', kept' if keep else ''), depthwise.convolve_kernel,
               dict(ROWS=tile.rows, COLUMNS=tile.columns, BIAS=True, NORM=True, KEEP=keep), tile)
    for tile in plans.convolution_tiles(channels):
        yield ('convolution', depthwise.convolve_kernel,
               dict(ROWS=tile.rows, COLUMNS=tile.columns, BIAS=False, NORM=False, KEEP=False), tile)
    tile = plans.weight_gradient(channels)[0].tile
    yield ('filter gradient', depthwise.weight_gradient_kernel,
           dict(ROWS=tile.rows, COLUMNS=tile.columns), tile)
    tile = plans.norm(channels, channels_last=True)[0].tile
    for name, kernel in (('norm', norm.normalise_kernel), ('norm gradient', norm.gradient_kernel)):
        yield name, kernel, dict(PIXELS=tile.columns), tile
    tile = plans.elementwise(channels)[0].tile
    pixels = dict(PIXELS=tile.columns)
    yield 'GELU + GRN, sums', activation.sums_kernel, dict(pixels, BACKWARD=False), tile
    yield 'GELU + GRN, apply', activation.apply_kernel, pixels, tile
    yield 'GELU + GRN gradient', activation.gradient_kernel, dict(pixels, GRN=True), tile
    both = dict(pixels, GAMMA=True, FACTOR=True)
    yield 'residual', residual.add_kernel, both, tile
    yield 'residual gradient', residual.gradient_kernel, both, tile


def compile_kernel(kernel, constants, warps, capability):
    """Compile for bfloat16 maps and float32 parameters; returns the machine code's facts."""
    maps = {'x_ptr', 'y_ptr', 'z_ptr', 'grad_ptr', 'dx_ptr', 'branch_ptr', 'dbranch_ptr'}
    signature, attributes = {}, {}
    for index, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = 'constexpr'
        elif name.endswith('_ptr'):
            signature[name] = '*bf16' if name in maps else '*fp32'
        else:
            signature[name] = 'fp32' if name == 'eps' else 'i32'
        if name.endswith('_ptr') or name.startswith('stride') or re.fullmatch(r'\w+_[np]', name):
            attributes[(index, )] = [['tt.divisibility', 16]]
    for name in kernel.arg_names:
        if re.fullmatch(r'(x|y|dx|grad)_c', name):  # channels next to each other
            signature[name], constants[name] = 'constexpr', 1
    binary = triton.compile(ASTSource(kernel, signature, constants, attributes),
                            target=GPUTarget('cuda', capability, 32),
                            options=dict(num_warps=warps, enable_fp_fusion=True)).asm['cubin']
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(binary)
        file.flush()
        usage = _tool('cuobjdump', '--dump-resource-usage', file.name)
        code = _tool('nvdisasm', '-c', file.name)
    facts = {key: int(re.search(rf'{key}:(\d+)', usage)[1]) for key in ('REG', 'STACK', 'SHARED')}
    fma, total = hottest_loop(code)
    resident = min(REGISTERS // (facts['REG'] * 32 * warps) * warps, MOST_WARPS)
    return dict(registers=facts['REG'], spilled=facts['STACK'], shared=facts['SHARED'],
                warps=resident, fma=fma, instructions=total)


def _tool(name, *arguments):
    return subprocess.run([TOOLS / name, *arguments], capture_output=True, text=True,
                          check=True).stdout


def hottest_loop(code):
    """Multiply-adds and instructions of the loop with the largest part of them."""
    opcodes, labels, loops = [], {}, []
    for line in code.splitlines():
        if label := re.match(r'\s*(\.L_x_\d+):', line):
            labels[label[1]] = len(opcodes)
        elif found := re.match(r'\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)(.*)', line):
            opcodes.append(found[1])
            target = re.search(r'\.L_x_\d+', found[2])
            if found[1].startswith('BRA') and target and target[0] in labels:
                loops.append(opcodes[labels[target[0]]:])
    counts = [(sum(opcode.startswith('FFMA') for opcode in loop), len(loop)) for loop in loops]
    return max(counts, key=lambda count: count[0] / count[1], default=(0, 0))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--capability', type=int, default=90, help='80, 90, 100, ... (%(default)s)')
    parser.add_argument('--channels', type=int, nargs='+', default=[96, 384, 768])
    args = parser.parse_args(arguments)
    print(ROW.format(*HEAD))
    print(ROW.format(*['---'] * len(HEAD)))
    for channels in args.channels:
        for name, kernel, constants, tile in cases(channels):
            facts = compile_kernel(kernel, dict(constants, C=channels, CHANNELS=tile.channels,
                                                ACC=tl.float32), tile.warps, args.capability)
            loop = f'{facts["fma"]} / {facts["instructions"]}' if facts['fma'] else ''
            print(ROW.format(name, channels, 'x'.join(map(str, tile[:3])) + f', {tile.warps} warps',
                             facts['registers'], facts['spilled'], facts['shared'], facts['warps'],
                             loop), flush=True)


if __name__ == '__main__':
    main()
