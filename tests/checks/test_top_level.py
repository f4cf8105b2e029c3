"""A key at the top of a config that holds another kind of value is named before anything else."""
import copy

import pytest

from convnext_dense.checks.audit_config import audit, summary
from convnext_dense.checks.preflight import check_config
from convnext_dense.checks.top_level import KINDS, top_level_problems
from convnext_dense.cli import main
from convnext_dense.config import TOP_LEVEL_KEYS
from convnext_dense.errors import InputError

WRONG = {
    'model': ['DINO', None], 'train_dataloader': ['x'], 'val_evaluator': [5],
    'custom_hooks': [dict(type='EMAHook')], 'default_hooks': [[]], 'optim_wrapper': [1e-4],
    'env_cfg': [dict(dist_cfg=5), True], 'bad_images': [5], 'randomness': [0], 'resume': ['yes'],
    'load_from': [5, True], 'log_level': ['FOO', None, True], 'launcher': ['torchrun'],
    'compile': [5, dict(backend='nope')], 'acceleration': ['fast', dict(nope=1)],
    'init_from': [5, dict(file='a.pth')], 'param_scheduler': ['PolyLR'], 'default_scope': [7]}


@pytest.mark.parametrize('key, value', [(key, value) for key in WRONG for value in WRONG[key]])
def test_the_key_is_named_whatever_reads_the_config(labels, key, value):
    labels.cfg[key] = copy.deepcopy(value)
    for training in (True, False):
        with pytest.raises(InputError, match=f'^{key}') as error:
            check_config(labels.cfg, training)
        assert '\n' not in str(error.value)
    reports, findings, notes = audit(labels.cfg, progress=False)
    lines, good = summary(reports, findings, notes)
    assert not good and findings.count('error') == findings.counts['config'] >= 1
    assert findings.examples['config'][0].startswith(key)


def test_the_commands_name_it_as_well(labels, tmp_path, capsys):
    labels.cfg.env_cfg = dict(dist_cfg=5)
    labels.cfg.dump(tmp_path / 'config.py')
    for words in (['train'], ['test', 'weights.pth'], ['check-data']):
        status = main([words[0], str(tmp_path / 'config.py'), *words[1:]])
        printed = capsys.readouterr()
        assert status and 'env_cfg.dist_cfg=5; expected a dict' in printed.out + printed.err


def test_built_parts_and_what_is_left_out_pass(labels):
    labels.cfg.update(visualizer=None, custom_hooks=None, compile=None, init_from=None)
    assert not list(top_level_problems(labels.cfg))
    assert {key.partition('.')[0] for key in KINDS} <= set(TOP_LEVEL_KEYS)
