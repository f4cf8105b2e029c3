"""mmengine's EMAHook for a model whose parameters are shared out between processes."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.hooks import EMAHook as MMEngineEMAHook
from mmengine.registry import MODELS
from torch import nn

from convnext_dense.registry import HOOKS
from convnext_dense.runtime.sharding import give_back, is_sharded, take_whole_tensors, whole

if TYPE_CHECKING:
    from convnext_dense.runtime.runner import Runner


@HOOKS.register_module()
class EMAHook(MMEngineEMAHook):
    """Average the weights; of a sharded model each process averages its parts.

    The arguments, and what an unsharded run does, are mmengine's. A checkpoint holds the whole
    averages.
    """

    def before_run(self, runner: Runner) -> None:
        """Make the averages, which begin as the weights."""
        if not is_sharded(runner.model):
            super().before_run(runner)
            return
        self.src_model = runner.model
        # FSDP2's modules cannot be copied
        self.ema_model = MODELS.build(self.ema_cfg,
                                      default_args=dict(model=runner.unsharded_copy))
        averaged = self.ema_model.module
        for name, parameter in self.src_model.named_parameters():
            owner, _, leaf = name.rpartition('.')
            setattr(averaged.get_submodule(owner), leaf,
                    nn.Parameter(parameter.detach().clone(), requires_grad=False))
        take_whole_tensors(averaged)
        self.ema_model.avg_parameters = averaged.state_dict() if \
            self.ema_model.update_buffers else dict(averaged.named_parameters())

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Average; a step that was left out ended after its forward pass."""
        give_back(self.src_model)
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the averages, whole; all processes of a sharded run call it."""
        super().before_save_checkpoint(runner, checkpoint)
        if is_sharded(runner.model):
            keep = runner.rank == 0
            for key in ('state_dict', 'ema_state_dict'):  # they were exchanged
                for name, value in checkpoint[key].items():
                    checkpoint[key][name] = whole(value, keep)

    def _swap_ema_parameters(self):
        give_back(self.src_model)
        super()._swap_ema_parameters()
