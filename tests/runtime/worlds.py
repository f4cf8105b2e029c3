"""Runs in several processes, as a program: ``worlds.py SCENARIOS.json DATA WORK_DIR``.

Everything is imported once; each process of a run is a fork of this one, so that a start costs
little. A scenario is a dict: ``name`` of its folder, ``processes``, ``batch`` of each, ``iters``;
``options`` as ``--cfg-options`` has them; ``resume`` from this checkpoint, or ``copy`` the folder
of another scenario and go on there; ``stop`` after an iteration without an end; ``resave`` writes
what was loaded to ``loaded.pth``; ``second`` has options of the second process alone; ``double``
computes in float64, where rounding flips no ReLU; ``grace`` are the seconds that the others have
once one has ended. Prints how each ended.
"""
import gc
import json
import os
import shutil
import sys
import time
import traceback
from pathlib import Path

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import DATA_SAMPLERS
from tiny import segmenter_config
from torch.distributed.elastic.utils.distributed import get_free_port

from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner

#: ConvNeXt V2-Huge has depths (3, 3, 27, 3) and channels (352, 704, 1408, 2816)
HUGE = dict(depths=(1, 1, 4, 1), channels=(12, 24, 36, 48))


@DATA_SAMPLERS.register_module()
class Selfish:
    """Gives all samples to the first process."""

    def __init__(self, dataset, seed=None, shuffle=None):
        self.mine = range(len(dataset)) if is_main_process() else range(0)

    def __iter__(self):
        return iter(self.mine)

    def __len__(self):
        return len(self.mine)


class Stop(Hook):
    """Ends a process after an iteration, as a kill does."""

    priority = 'LOWEST'

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            os._exit(77)


class Resave(Hook):
    """Writes what was loaded, before the first step."""

    priority = 'LOWEST'

    def before_train(self, runner):
        runner.save_checkpoint(runner.work_dir, 'loaded.pth', by_epoch=False)


def config(scenario, data, work_dir):
    """A reduced V2-Huge in UperNet, without anything that a process draws or averages alone."""
    made = segmenter_config(data, work_dir / scenario['name'], workers=0, iters=scenario['iters'])
    made.model.backbone.update(arch=HUGE, use_grn=True, layer_scale_init_value=0.,
                               drop_path_rate=0.)
    norm = dict(type='GN', num_groups=2)  # batch norm would see each process's images alone
    made.model.decode_head.update(in_channels=list(HUGE['channels']), norm_cfg=norm,
                                  dropout_ratio=0.)
    made.model.auxiliary_head.update(in_channels=HUGE['channels'][2], norm_cfg=norm,
                                     dropout_ratio=0.)
    made.train_dataloader.batch_size = scenario['batch']
    made.param_scheduler = []
    made.train_cfg.val_interval = scenario['iters']
    made.default_hooks.checkpoint.max_keep_ckpts = -1
    made.log_level = 'INFO'
    made.launcher = 'pytorch' if scenario['processes'] > 1 else 'none'
    made.resume = 'resume' in scenario or 'copy' in scenario
    made.load_from = scenario.get('resume')
    made.merge_from_dict(scenario.get('options', {}))
    if os.environ.get('RANK') == '1':
        made.merge_from_dict(scenario.get('second', {}))
    return made


def train(scenario, data, work_dir):
    if 'double' in scenario:
        torch.set_default_dtype(torch.float64)
    runner = Runner.from_cfg(config(scenario, data, work_dir))
    if 'stop' in scenario:
        runner.register_hook(Stop(scenario['stop']))
    if 'resave' in scenario:
        runner.register_hook(Resave())
    runner.train()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # or gloo's threads may abort the exit


def run(scenario, data, work_dir):
    """Fork the processes of a scenario; returns their exit statuses."""
    folder = work_dir / scenario['name']
    if 'copy' in scenario:
        shutil.copytree(work_dir / scenario['copy'], folder)
    folder.mkdir(parents=True, exist_ok=True)
    port = get_free_port()
    children = []
    for rank in range(scenario['processes']):
        child = os.fork()
        if not child:
            status = 1
            try:
                os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank),
                                  LOCAL_RANK=str(rank), WORLD_SIZE=str(scenario['processes']))
                log = os.open(folder / f'output{rank}.txt', os.O_WRONLY | os.O_CREAT)
                os.dup2(log, 1)
                os.dup2(log, 2)
                train(scenario, data, work_dir)
                status = 0
            except InputError as error:
                print(f'InputError: {error}', flush=True)
                status = 2
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    statuses, end = {}, None
    while len(statuses) < len(children):
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            statuses[child] = os.waitstatus_to_exitcode(status)
        if end is None and any(statuses.values()):
            end = time.monotonic() + scenario.get('grace', .5)
        if end is not None and time.monotonic() > end:  # as torchrun does: one is dead, end all
            for other in set(children) - set(statuses):
                os.kill(other, 9)
        time.sleep(.05)
    return [statuses[child] for child in children]


if __name__ == '__main__':
    torch.set_num_threads(1)
    import mmseg.models  # noqa: F401 the children inherit it
    gc.freeze()  # or each collection of a child walks through, and copies, all that it inherited
    scenarios, data, work_dir = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    print(json.dumps({scenario['name']: run(scenario, data, work_dir)
                      for scenario in json.loads(scenarios.read_text())}))
