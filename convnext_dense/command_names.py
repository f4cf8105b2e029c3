"""What a command is called where it was typed, for messages that say what to run next."""
import os
import shlex
import sys
from pathlib import Path

#: the scripts of a clone that OpenMMLab's users expect
SCRIPTS = {
    'train': 'tools/train.py',
    'test': 'tools/test.py',
    'complexity': 'tools/analysis/complexity.py',
    'benchmark': 'tools/analysis/benchmark.py',
    'compare': 'tools/compare.py',
    'convert-checkpoint': 'tools/convert_checkpoint.py',
    'inspect-checkpoint': 'tools/inspect_checkpoint.py',
    'prepare-data': 'tools/data/prepare.py',
    'check-data': 'tools/data/check.py',
}


def typed(command: str) -> str:
    """``convnext-dense COMMAND``, or its script where this process is one of the scripts."""
    tools = Path(__file__).parents[1] / 'tools'
    if command in SCRIPTS and tools in Path(sys.argv[0]).resolve().parents:
        return SCRIPTS[command]
    return f'convnext-dense {command}'


def typed_again(option: str) -> str:
    """The line that started this process, with one more option.

    Returns:
        ``this command with OPTION`` where it was started in another way, from Python for instance,
        or by torchrun, whose own line is not known here.
    """
    program = Path(sys.argv[0])
    tools = Path(__file__).parents[1] / 'tools'
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        return f'this command with {option}'
    if program.name == 'convnext-dense':
        words = [program.name]
    elif program == Path(__file__).parent / '__main__.py':
        words = ['python', '-m', 'convnext_dense']
    elif tools in program.resolve().parents:
        words = ['python', sys.argv[0]]
    else:
        return f'this command with {option}'
    options = [word for word in sys.argv[1:] if word != option]
    return f'{shlex.join([*words, *options])} {option}'
