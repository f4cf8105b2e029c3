"""Malformed resolved configs, as a stranger's checkpoint or work directory may hold them.

The config that a run kept is changed in one place, as the states of ``states`` are. The checkpoint
goes to ``predict``, the work directory with its results to ``compare``: each ends in one line, or
in a result.
"""
import random
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import forks
from benchmarks.robustness_doors import CONFIG, TINY
from benchmarks.robustness_states import change

#: the settings that the commands read
READ = ('model', 'test_dataloader', 'test_evaluator', 'default_scope', 'bad_images',
        'acceleration', 'data_preprocessor')
KINDS = {0: 'ran', 1: 'passed over', 2: 'refused', None: 'hung'}


def run(argv: list[str]) -> None:
    """A command line, in a child."""
    from convnext_dense.cli import main
    raise SystemExit(main(argv))


def as_text(settings: dict) -> str:
    """Settings as Python code, tensors and lists of pairs included, as far as it can say them."""
    return '\n'.join(f'{key} = {value!r}' for key, value in settings.items()
                     if isinstance(key, str) and key.isidentifier())


def malformed(settings: dict, rng: random.Random) -> tuple[str, str]:
    """A changed config as text, and what was changed; tensors are no part of a config."""
    read = {key: settings.get(key) or {} for key in READ}
    while True:
        changed, what = change(read, rng)
        if 'tensor(' not in what:
            return as_text({**settings, **changed}), what


def measure(folder: Path, count: int = 100, seed: int = 0) -> int:
    """Read ``count`` malformed configs by both commands; returns the number of faults."""
    import mmseg.models  # noqa: F401 the children inherit it
    from mmengine.config import Config

    from convnext_dense.datasets.shapes import write_shapes
    torch.set_num_threads(1)
    data, work, printed = folder / 'data', folder / 'work', folder / 'printed'
    write_shapes(data, train=4, val=3, size=96)
    image = str(next(iter(sorted((data / 'images' / 'validation').iterdir()))))
    options = ['--data-root', str(data), '--work-dir', str(work), '--device', 'cpu',
               '--cfg-options', *TINY]
    for argv in (['train', CONFIG, *options],
                 ['test', CONFIG, str(work / 'iter_2.pth'), *options,
                  'test_evaluator.report=True']):
        outcome = forks.run(partial(run, argv), printed)
        if outcome.status:
            raise RuntimeError(outcome.text)
    state = torch.load(work / 'iter_2.pth', weights_only=False)
    settings = Config.fromstring(state['meta']['cfg'], '.py').to_dict()
    rng, counts, faults = random.Random(seed), Counter(), []
    for number in range(count):
        text, what = malformed(settings, rng)
        checkpoint, other = folder / f'{number}.pth', folder / f'work_{number}'
        torch.save(dict(state, meta=dict(state['meta'], cfg=text)), checkpoint)
        shutil.copytree(work, other, ignore=shutil.ignore_patterns('*.pth'))
        for path in other.glob('*.py'):
            path.write_text(text)
        for argv in (['predict', image, '--model', str(checkpoint), '--out',
                      str(folder / f'out_{number}'), '--device', 'cpu'],
                     ['compare', str(other), '--out', str(folder / f'report_{number}'),
                      '--no-static', '--resamples', '100']):
            outcome = forks.run(partial(run, argv), printed)
            kind = KINDS.get(outcome.status, 'failed')
            counts[f'{argv[0]} {kind}'] += 1
            fault = fault_of(outcome)
            if fault:
                faults.append(f'{number} {what}, {argv[0]}: {fault}')
        checkpoint.unlink()
    return forks.report(f'{count} malformed configs', counts, faults)


def fault_of(outcome: Any) -> str | None:
    """What is wrong with how a command ended; None where nothing is."""
    errors = [line for line in outcome.text.splitlines() if line.startswith('error: ')]
    if outcome.status == 1 and 'passed over: ' in outcome.text and not errors:
        return None  # a pipeline that the image does not pass
    if outcome.status not in (0, 2) or (outcome.status == 2) != (len(errors) == 1) or \
            'Traceback (most' in outcome.text:
        return f'status {outcome.status}: {outcome.text.strip()[-1500:]}'
    return None
