"""Starting a training from a model of other classes: ``init_from`` of a config."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from convnext_dense.checkpoints.fine_tuning import init_from_settings
from convnext_dense.errors import InputError
from convnext_dense.registry import HOOKS

if TYPE_CHECKING:
    from convnext_dense.runtime.runner import Runner


@HOOKS.register_module()
class InitFromHook(Hook):
    """Load what fits of a file before training; see
    :mod:`convnext_dense.checkpoints.fine_tuning`.

    Args:
        source (str): a file, URL or name of published weights.
        classes (Sequence[str], optional): the file's class names, where it does not name them.
    """
    priority = 'VERY_HIGH'

    def __init__(self, source: str, classes: Sequence[str] | None = None,
                 prefix: str | None = None) -> None:
        self.source = source
        self.classes = classes
        self.prefix = prefix

    def before_train(self, runner: Runner) -> None:
        """Load, unless the run goes on from a checkpoint of its own.

        mmengine draws the first weights between ``before_run`` and this. Averages of the weights
        copy them at their first update, which is later.
        """
        if getattr(runner, 'resumed_from', None):
            return
        from convnext_dense.checkpoints import locate, read_checkpoint, state_dict_of
        from convnext_dense.checkpoints.fine_tuning import classes_of, plan_fine_tuning
        from convnext_dense.checkpoints.values import check_values
        from convnext_dense.model_wrappers import unwrap
        from convnext_dense.runtime.sharding import whole_state_dict
        checkpoint = read_checkpoint(locate(self.source))
        state = state_dict_of(checkpoint, self.source, self.prefix)
        classes = getattr(runner.train_loop.dataloader.dataset, 'metainfo', {}).get('classes')
        if not classes:
            raise InputError('init_from: train_dataloader.dataset names no classes to match; set '
                             "its metainfo=dict(classes=(...))")
        model = unwrap(runner.model)
        plan = plan_fine_tuning(whole_state_dict(model), state, classes,
                                self.classes or classes_of(checkpoint, state), self.source,
                                type(model).__name__)
        check_values(plan.tensors, self.source)
        model.load_state_dict(plan.tensors, strict=False)
        runner.logger.info(f'init_from {self.source}: {plan}')
        if plan.doubtful:
            runner.logger.warning(
                f'init_from {self.source}: {", ".join(plan.doubtful)} are loaded row by row, not '
                'by class: no rule says which rows belong to which of the other classes; look '
                'whether they shall start fresh (convert-checkpoint --drop NAME leaves them out)')
        for name in ('started', 'left'):
            if getattr(plan, name):
                runner.logger.debug(f'init_from, {name}: {", ".join(getattr(plan, name))}')


def init_from_hooks(setting: str | dict | None) -> list[InitFromHook]:
    """The hook of a config's ``init_from``: None, a source, or a dict of the hook's arguments."""
    settings = init_from_settings(setting)
    return [InitFromHook(**settings)] if settings else []
