"""A run can be repeated from its log and its work directory; nothing listens beyond the machine."""
import re
import subprocess
import sys
import uuid
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from tiny import ToyData, toy_config

from convnext_dense.runtime import Runner
from convnext_dense.runtime.start_line import commit, config_hash, data_roots


@DATASETS.register_module()
class RootedToyData(ToyData):
    """Toy data that claims to have a folder."""

    def __init__(self, data_root, **settings):
        super().__init__(**settings)


def run(work_dir, **settings):
    config = toy_config(work_dir, epochs=1, log_level='INFO',
                        experiment_name=f'run_{uuid.uuid4().hex}', **settings)
    config.train_dataloader.dataset.data_root = 'data/toys'
    config.train_dataloader.dataset.type = 'RootedToyData'
    runner = Runner.from_cfg(config)
    runner.train()
    return runner, ''.join(path.read_text() for path in Path(work_dir).glob('*/*.log'))


def test_one_line_says_what_repeats_the_run(tmp_path):
    runner, log = run(tmp_path)
    line, = re.findall(r'INFO - (run: .*)', log)
    for part in ('convnext-dense 0', f'commit {commit()}', f'torch {torch.__version__}',
                 'mmengine 0.10', 'mmcv 2.', 'mmdet 3.', 'mmseg 1.',
                 f'config {config_hash(runner.cfg)}', 'seed 0', '1 x cpu', 'data data/toys'):
        assert part in line


def test_the_resolved_config_is_saved(tmp_path):
    runner, _ = run(tmp_path)
    saved, = tmp_path.glob('*.py')
    assert config_hash(Config.fromfile(saved)) == config_hash(runner.cfg)


def test_the_hash_is_that_of_the_settings_not_of_their_order_or_the_folder():
    one = Config(dict(model=dict(a=1, b=2), work_dir='here'))
    two = Config(dict(work_dir='there', model=dict(b=2, a=1)))
    assert config_hash(one) == config_hash(two)
    assert config_hash(one) != config_hash(Config(dict(model=dict(a=1, b=3))))


def test_a_deterministic_run_says_so(tmp_path):
    try:
        _, log = run(tmp_path, randomness=dict(seed=3, deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False
    assert 'seed 3, deterministic' in log


def test_data_roots_are_found_inside_wrappers_and_once():
    inner = dict(dataset=dict(dataset=dict(data_root='a')))
    assert data_roots(Config(dict(train_dataloader=inner, val_dataloader=inner))) == ['a']
    # a test does not look at what is wrong with the validation's
    other = dict(dataset=dict(data_root=[1, None]))
    assert data_roots(Config(dict(val_dataloader=other, test_dataloader=inner))) == ['a']


LISTEN = '''
import sys
addresses = []
sys.addaudithook(lambda event, args: addresses.append(args[1]) if event == 'socket.bind' else None)
sys.path.insert(0, sys.argv[2])
from tiny import toy_config, with_validation
from convnext_dense.runtime import Runner
config = with_validation(toy_config(sys.argv[1], workers=1, epochs=1), 1)
config.vis_backends = [dict(type='LocalVisBackend')]
config.visualizer = dict(type='Visualizer', vis_backends=config.vis_backends)
Runner.from_cfg(config).train()
print({address[0] for address in addresses if isinstance(address, tuple)} - {'::1', '127.0.0.1'})
'''


def test_training_with_a_visualiser_binds_to_loopback_only(tmp_path):
    """One library tries out IPv6 at ::1; nothing else is bound."""
    ran = subprocess.run([sys.executable, '-c', LISTEN, tmp_path, Path(__file__).parent],
                         capture_output=True, text=True)
    assert not ran.returncode, ran.stderr[-2000:]
    assert ran.stdout.splitlines()[-1] == 'set()'
