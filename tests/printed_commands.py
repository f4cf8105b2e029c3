"""The shell commands that README and docs print, expanded by a shell that runs none of them.

Each block goes to bash as it stands, with programs in the place of python, make and the others
that only write down how they were called. So loops, variables, pipes, quotes and the scripts in
tools/ mean what they mean to a reader.
"""
import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

CLONE = Path(__file__).resolve().parents[1]
FILES = ['README.md', 'CONTRIBUTING.md', *(f'docs/{path.name}' for path in
                                           sorted((CLONE / 'docs').glob('*.md')))]
PROGRAMS = ('convnext-dense', 'python', 'python3', 'make', 'pip', 'pre-commit', 'git')
#: what a line that is a command begins with
STARTS = re.compile(r'(\$ |[A-Z_]+=\S* )*(\S*/)?('
                    + '|'.join((*PROGRAMS, 'bash', 'find', 'for', 'export')) + ') ')
STAND_IN = '#!/bin/sh\nprintf "%s\\n" "$#" "${0##*/}" "$@" >> "$WRITTEN_DOWN"\n'


class Command(NamedTuple):
    """A command as the shell would run it.

    Attributes:
        file: where it is printed, relative to the clone.
        words: the program's name without its folder, and its arguments.
    """
    file: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return ' '.join(self.words)


def shell_blocks(file: str) -> list[str]:
    """The blocks of a file that hold commands, without prompts and what was printed behind them."""
    found = []
    for language, block in re.findall(r'^```(\w*)\n(.*?)^```', (CLONE / file).read_text(),
                                      re.M | re.S):
        if language:
            continue
        if any(line.startswith('$ ') for line in block.splitlines()):
            block = '\n'.join(line[2:] for line in block.splitlines() if line.startswith('$ '))
        elif not STARTS.match(block):
            continue
        found.append(block.replace(' ...\n', '\n').replace(' ... ', ' '))
    return found


def expand(block: str) -> list[tuple[str, ...]]:
    """The commands of a block, in the order in which bash comes to them."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / '.venv/bin').mkdir(parents=True)
        for program in PROGRAMS:
            (here / '.venv/bin' / program).write_text(STAND_IN)
            (here / '.venv/bin' / program).chmod(0o755)
        for name in ('tools', 'configs', 'tests'):
            (here / name).symlink_to(CLONE / name)
        record = here / 'written_down'
        record.touch()
        subprocess.run(
            ['bash', '-eu', '-c', block], cwd=here, check=True, stdin=subprocess.DEVNULL, env=dict(
                PATH=f'{here}/.venv/bin:/usr/bin:/bin', WRITTEN_DOWN=str(record),
                PYTHON=str(here / '.venv/bin/python'), HOME=os.environ.get('HOME', '/')))
        lines, found = iter(record.read_text().splitlines()), []
        for count in lines:
            found.append(tuple(next(lines) for _ in range(int(count) + 1)))
        return found


@cache
def printed() -> tuple[Command, ...]:
    """Every command of README and docs, the same one of a file once."""
    return tuple(dict.fromkeys(Command(file, words) for file in FILES
                               for block in shell_blocks(file) for words in expand(block)))


#: what a test runs as it is printed, with names like CONFIG and PENNFUDAN standing for tiny data:
#: walk -> its commands. tests/test_printed_walks.py, tests/export/test_printed_exports.py and
#: tests/web/test_printed_serving.py
WALKS = {
    'own images': r'convnext-dense (new fruit|train fruit|predict fruit)',
    'reports': 'convnext-dense report',
    'masks': 'convnext-dense new (road|crack)',
    'people': 'convnext-dense new people',
    'examples': r'python tools/train.py configs/examples/\S+ --data-root \S+$|'
                'convnext-dense predict photos/ --model work_dirs/upernet',
    'comparison': 'convnext-dense compare --data (CAMVID|PENNFUDAN)',
    'prediction': 'convnext-dense predict (photos/ --model work_dirs/fruit|street.mp4|-)',
    'weights': 'convnext-dense train CONFIG|python tools/(inspect|convert)_checkpoint.py|'
               'python -c .*zoo',
    'data': 'python tools/data/check.py',
    'models': r'python tools/(analysis/\w+.py CONFIG|compare.py \[)',
    'exports': 'convnext-dense (export|predict photos/ --model exports|serve exports)|pip install',
    'serving': 'convnext-dense serve work_dirs',
}
#: what is only parsed, and why it is not run
PARSED = {
    'make |pre-commit |git ': 'sets up an environment, or runs for minutes; CI runs them',
    r'python tools/data/prepare.py (coco|ade20k)': 'fetches gigabytes, or reads them',
    r'python tools/(train|test).py configs/cascade_mask_rcnn': 'a GPU and 20 GB of images; '
    'tests/configs trains and tests these recipes shrunk, test_readme_code.py on own data',
    'convnext-dense compare --data fruit': 'trains for hours; '
    'tests/commands/test_compare_data.py runs it on tiny data',
    'convnext-dense plan ': 'tests/analysis/test_plan.py plans this config',
    'convnext-dense train mask2former': 'trains for 20 minutes; tests/runtime/cut_losses.py trains '
    'this config',
    'python -m torch.distributed.run': 'eight GPUs; tests/commands/test_launching.py starts two '
    'processes',
    r'python3? tools/gpu/': 'fetches a hundred packages, or needs a GPU; tests/setup/'
    'test_gpu_package.py',
    'python -m benchmarks.': 'measures for minutes to hours; tests/benchmarks try their parts',
    r'python tests/runtime/': 'long proofs; tests/runtime runs short forms of them',
    'python -m pytest': 'a long proof',
}


def walk(name: str) -> list[Command]:
    """The commands of a walk in the order of the docs, each once."""
    found = [command for command in printed() if re.match(WALKS[name], command.text)]
    return list({command.words: command for command in found}.values())
