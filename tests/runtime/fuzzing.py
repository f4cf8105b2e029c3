"""Random changes of configs and annotation files, and what every command says of the result."""
import copy
import gc
import re
import signal
import traceback
import uuid
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st

from convnext_dense.checks.audit_config import summary
from convnext_dense.checks.preflight import check_config
from convnext_dense.commands.check_data import full_check
from convnext_dense.commands.options import build_runner
from convnext_dense.errors import InputError

HANGS = 120  # seconds that nothing here takes, by far

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5), st.integers(), st.floats(), st.text(max_size=6),
    st.sampled_from([
        'DefaultSampler', 'BaseDataset', 'CocoDataset', 'RepeatDataset', 'Resize',
        'PackDetInputs', 'img', 'annotations/instances_training.json', 'images/training/', '..',
        '/dev/null', '000001.jpg', [0, 0, 5, 5], [[1, 1, 5, 1, 5, 5]], (64, 64)]))
KEYS = st.sampled_from(['type', 'scale', 'img', 'ann_file', 'classes', 'id', 'bbox', 'dataset',
                        'counts', 'size'])
VALUES = st.recursive(LEAVES, lambda children: st.lists(children, max_size=3)
                      | st.dictionaries(KEYS, children, max_size=3), max_leaves=4)


def fuzzed(number, seeded=20261126):
    """A decorator: so many seeded examples; a failing one is not made smaller: that takes hours."""
    limits = settings(max_examples=number, deadline=None, database=None, phases=[Phase.generate],
                      suppress_health_check=list(HealthCheck))
    return lambda test: seed(seeded)(limits(test))


def places(node, way=()):
    """The way to everything inside nested dicts and lists."""
    for key in node if isinstance(node, dict) else range(len(node)):
        yield (*way, key)
        if isinstance(node[key], (dict, list)):
            yield from places(node[key], (*way, key))


def change(data, content):
    """Replace, remove or repeat one or two things inside ``content``."""
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from(list(places(content)) or [('new', )]))
        parent = content
        for key in way:
            parent = parent[key]
        what = data.draw(st.sampled_from(['replace', 'replace', 'remove', 'repeat']))
        if what == 'remove' and last != 'new':
            del parent[last]
        elif what == 'repeat' and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[last]))
        else:
            parent[last] = data.draw(VALUES)


def outcome(call):
    """None, or the one line of the refusal."""
    try:
        call()
    except InputError as error:
        assert '\n' not in str(error)
        return str(error)
    return None


@contextmanager
def no_hang():
    """Raise TimeoutError in what takes too long."""
    def stop(*_):
        raise TimeoutError(f'more than {HANGS} seconds')
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Verdict(NamedTuple):
    """What the commands say of a config: None or one line, for each."""
    check: str | None  # check-data
    train: str | None
    test: str | None


def run(config, training):
    """What ``train`` and ``test`` do."""
    config.experiment_name = uuid.uuid4().hex
    check_config(config, training)
    runner = build_runner(config)
    runner.train() if training else runner.test()


def checked(config):
    """What ``check-data`` says: None where training can start, else its errors."""
    reports, findings, notes = full_check(config, workers=1, progress=False)
    lines, fine = summary(reports, findings, notes)
    return None if fine else '\n'.join(line for line in lines if 'error' in line or '    ' in line)


def judge(config):
    """Every command's word on a config; what check-data lets pass must run.

    Args:
        config (mmengine.Config): it is not changed.
    """
    with no_hang():
        check = checked(copy.deepcopy(config))
    words = {}
    for command in ('train', 'test'):
        with no_hang():
            words[command] = outcome(partial(run, copy.deepcopy(config), command == 'train'))
        assert check or not words[command], \
            f'check-data finds no error, {command} says: {words[command]}'
    return Verdict(check, **words)


class Verdicts(list):
    """Verdicts on changed content, and what went wrong in giving them, printed as it comes.

    Args:
        base (mmengine.Config): what is changed; it must run. What it imported is no garbage, and
            each data set looks for garbage.
    """

    def __init__(self, base):
        assert judge(base) == (None, None, None)
        gc.collect()
        gc.freeze()
        self.faults = []

    def add(self, config, changed):
        """Judge a config; ``changed`` is what a fault is shown with."""
        try:
            self.append(judge(config))
        except Exception as error:
            text = ''.join(traceback.format_exception(error)[-4:])
            self.faults.append(f'{changed}\n{text}')
            print(self.faults[-1], flush=True)
        if not (len(self) + len(self.faults)) % 25:
            print(f'so far: {tally(self)}', flush=True)

    def conclude(self):
        """Print the figures; raise AssertionError for faults, or where all verdicts are alike."""
        print(tally(self))
        assert not self.faults, f'{len(self.faults)} faults:\n\n' + '\n\n'.join(self.faults)
        assert len({verdict.train for verdict in self}) > 2
        assert any(verdict == (None, None, None) for verdict in self)


def tally(verdicts):
    """The figures of a run, for the docs."""
    ran = sum(verdict.train is None and verdict.test is None for verdict in verdicts)
    ways = {re.sub(r'\S*/', '', word)[:60] for verdict in verdicts for word in verdict[1:] if word}
    stricter = sum(verdict.check is not None and verdict.train is None and verdict.test is None
                   for verdict in verdicts)
    return (f'{len(verdicts)} examples: {ran} ran, {len(verdicts) - ran} were refused in '
            f'{len(ways)} ways; check-data alone found an error in {stricter}')
