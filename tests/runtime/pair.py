"""Two processes that train the toy model together, run as a program; prints one JSON line.

``nan``: a loss of one process is NaN at one step. ``signal``: one process gets SIGTERM after a
step. ``resume``: a run of one process goes on with two.
"""
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from tiny import ToyModel, toy_config
from torch.distributed.elastic.utils.distributed import get_free_port

from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner

STEP = 3


@MODELS.register_module()
class OneBadLoss(ToyModel):
    """In the second process the loss of one step is NaN, its gradient is not."""

    step = 0

    def forward(self, inputs, data_samples=None, mode='loss'):
        losses = super().forward(inputs, data_samples, mode)
        if mode == 'loss':
            bad = os.environ.get('RANK') == '1' and self.step == STEP
            losses['loss_other'] = torch.tensor(float('nan') if bad else 0.)
        return losses


class TellStep(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        runner.model.module.step = runner.iter


class SignalOne(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if os.environ.get('RANK') == '1' and runner.iter == STEP:
            os.kill(os.getpid(), signal.SIGTERM)


def train(what, work_dir, answer):
    torch.set_num_threads(1)
    config = toy_config(work_dir, batch_size=2, launcher='pytorch', log_level='INFO',
                        resume=what == 'resume', find_unused_parameters=True)
    if what == 'nan':
        config.model.type = 'OneBadLoss'
    status = 0
    runner = Runner.from_cfg(config)
    if what == 'signal':
        runner.register_hook(SignalOne())
    if what == 'nan':
        runner.register_hook(TellStep())
    try:
        runner.train()
    except SystemExit as end:
        status = end.code
    except InputError as error:
        status = str(error)
    answer.write_text(json.dumps(dict(
        status=status, iter=runner.iter, skipped=runner.non_finite_guard.skipped,
        weights=[parameter.sum().item() for parameter in runner.model.parameters()])))
    os._exit(0)


def main():
    what, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    if what == 'resume':
        config = toy_config(folder / 'work', batch_size=4, epochs=1)
        Runner.from_cfg(config).train()
    port = get_free_port()
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2')
    for rank in range(2):
        if not os.fork():
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            try:
                train(what, folder / 'work', folder / f'{rank}.json')
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
    for _ in range(2):
        os.wait()
    print(json.dumps([json.loads((folder / f'{rank}.json').read_text()) for rank in range(2)]))


if __name__ == '__main__':
    main()
