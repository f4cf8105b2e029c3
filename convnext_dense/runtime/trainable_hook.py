"""What of a model trains: ``freeze`` and ``lora`` of a config."""
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.optim.trainable import (
    LORA_OPTIONS,
    add_lora,
    freeze,
    frozen_norms,
    rank_and_alpha,
    restart_lora,
    summary,
)
from convnext_dense.registry import HOOKS


@HOOKS.register_module()
class TrainableHook(Hook):
    """Freezes parts of a model, adapts its backbone, and keeps what is frozen in evaluation mode.

    Args:
        freeze (Sequence[str], optional): parts that do not train, such as ``['backbone', 'neck']``.
        lora (dict | bool, optional): options of :func:`convnext_dense.optim.trainable.add_lora`;
            True is the defaults.

    Raises:
        InputError: an unknown option of ``lora``.
    """

    priority = 'VERY_HIGH'

    def __init__(self, freeze: Sequence[str] | None = None,
                 lora: Mapping[str, Any] | bool | None = None) -> None:
        self.parts = freeze or ()
        options: Mapping[str, Any] | None = {} if lora is True else lora or None
        if options is not None and (not isinstance(options, Mapping)
                                    or set(options) - set(LORA_OPTIONS)):
            raise InputError(f'lora={lora!r}: give True or dict({"=..., ".join(LORA_OPTIONS)}=...)')
        self.lora = options
        self._modules: list[nn.Module] = []

    def apply(self, model: nn.Module) -> None:
        """Change a model in place; before an optimizer or a wrapper looks at its parameters."""
        if self.lora is not None:
            backbone = getattr(model, 'backbone', None)
            if not isinstance(backbone, nn.Module):
                raise InputError(f'lora: {type(model).__name__} has no backbone')
            add_lora(backbone, **self.lora)
            self._modules += frozen_norms(backbone)
        self._modules += freeze(model, self.parts)
        if self.lora is not None and not any(
                name.startswith('backbone.') and parameter.requires_grad
                for name, parameter in model.named_parameters()):
            raise InputError(f'freeze={list(self.parts)!r} freezes the adapters of lora, too; lora '
                             'freezes the rest of the backbone itself')

    def restart(self, model: nn.Module) -> None:
        """After the model's weights were drawn: adapters start without effect."""
        if self.lora is not None:
            restart_lora(model)

    def meta(self) -> dict[str, Any]:
        """What a checkpoint must say of the adapters for them to be merged."""
        if self.lora is None:
            return {}
        return dict(lora=rank_and_alpha(**{key: value for key, value in self.lora.items()
                                           if key != 'dropout'}))

    def before_train(self, runner: Runner) -> None:
        if self.parts or self.lora is not None:
            from convnext_dense.model_wrappers import unwrap
            runner.logger.info(summary(unwrap(runner.model)))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The loops put the whole model into training mode before each epoch or iteration."""
        for module in self._modules:
            module.eval()
