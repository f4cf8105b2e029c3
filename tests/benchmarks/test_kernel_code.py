"""What the compiler makes of the kernels, without a GPU."""
import os
import subprocess
import sys

import pytest

from benchmarks.kernel_code import hottest_loop

CODE = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   FFMA R4, R5, R6, R4 ;
        /*0020*/              @!P0 LDG.E.64 R8, desc[UR4][R2.64] ;
.L_x_0:
        /*0030*/                   FFMA R4, R5, R6, R4 ;
        /*0040*/                   FFMA.FTZ R4, R5, R6, R4 ;
        /*0050*/               @P1 BRA `(.L_x_0) ;
        /*0060*/                   IADD3 R7, R7, 0x1, RZ ;
        /*0070*/              @!P1 BRA `(.L_x_1) ;
        /*0080*/                   BRA `(.L_x_2) ;
.L_x_2:
        /*0090*/                   EXIT ;
"""


def test_the_loop_with_the_largest_part_of_multiply_adds_is_found():
    assert hottest_loop(CODE) == (2, 3)
    assert hottest_loop(CODE.replace('FFMA', 'FADD')) == (0, 3)
    assert hottest_loop('') == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize('capability', [80, 90, 100])
def test_all_kernels_compile_without_spilled_registers(capability):
    """For three generations of GPUs, in a process without Triton's interpreter; 20 seconds each."""
    environment = {key: value for key, value in os.environ.items() if key != 'TRITON_INTERPRET'}
    lines = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'benchmarks.kernel_code', '--capability',
         str(capability), '--channels', '96', '768'],
        env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    spilled = rows[0].index('spill')
    found = {(row[0], row[1]) for row in rows[2:]}
    names = {name for name, _ in found}
    assert len(names) == 11 and found == {(name, c) for name in names for c in ('96', '768')}
    assert {row[spilled] for row in rows[2:]} == {'0'}
