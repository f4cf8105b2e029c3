"""Every recipe says for how many images a step its learning rate is."""
import re

import pytest

from convnext_dense.config import load_config
from convnext_dense.config_files import config_names

#: for one process; `convnext-dense new` writes its own number over those of the folder own
ALONE = ('examples', 'demo', 'compare')


@pytest.mark.parametrize('name', [name for name, path in config_names().items()
                                  if path.parent.name != 'own'])
def test_the_base_batch_is_that_of_the_recipes_processes(name):
    path = config_names()[name]
    cfg = load_config(path)
    written = re.search(r'_(\d+)xb(\d+)-', name)
    processes, images = map(int, written.groups()) if written else (
        1 if path.parent.name in ALONE else 8, cfg.train_dataloader.batch_size)
    assert cfg.train_dataloader.batch_size == images
    assert cfg.auto_scale_lr.base_batch_size == processes * images
    assert not cfg.auto_scale_lr.get('enable')
