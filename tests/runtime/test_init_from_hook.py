"""What the hook of ``init_from`` does with a file: its prefix, and its warning."""
import logging
from types import SimpleNamespace

import torch
from torch import nn

from convnext_dense.models import ConvNeXt
from convnext_dense.runtime.init_from_hook import init_from_hooks


class Model(nn.Module):

    def __init__(self):
        super().__init__()
        self.backbone = ConvNeXt(arch=dict(depths=(1, 1, 1, 1), channels=(4, 8, 8, 8)))
        self.bbox_head = nn.ModuleDict(dict(guess=nn.Conv2d(4, 3, 1)))


def test_a_prefix_is_taken_and_doubtful_rows_are_warned_about(tmp_path, caplog):
    student, teacher, model = Model(), Model(), Model()
    for part in (student, teacher):
        nn.init.normal_(part.backbone.stages[0][0].dwconv.weight)
    path = tmp_path / 'both.pth'
    torch.save({f'{name}.{key}': value for name, part in dict(student=student,
                teacher=teacher).items() for key, value in part.state_dict().items()}, path)
    hook, = init_from_hooks(dict(source=str(path), classes=['a', 'b', 'c'], prefix='teacher'))
    logger = logging.getLogger('test_init_from_hook')
    dataset = SimpleNamespace(metainfo=dict(classes=('a', 'd', 'e')))
    with caplog.at_level(logging.INFO):
        hook.before_train(SimpleNamespace(
            model=model, logger=logger,
            train_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))))
    key = 'backbone.stages.0.0.dwconv.weight'
    assert torch.equal(model.state_dict()[key], teacher.state_dict()[key])
    warning, = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert 'bbox_head.guess.weight are loaded row by row, not by class' in warning.getMessage()
