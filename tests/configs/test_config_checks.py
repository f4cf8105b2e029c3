"""What is checked before any work passes with every recipe, and finds what its figures are."""
from pathlib import Path

import pytest
from config_files import FILES as ROWS
from config_files import ROOT, config

from convnext_dense.checks.arguments import class_of
from convnext_dense.checks.settings import broken
from convnext_dense.config import load_config
from convnext_dense.evaluation.figure_names import figure_names

FILES = sorted(path for path in ROOT.glob('*/*.py') if path.parent.name != '_base_')
HEADLINES = {'coco/bbox_mAP', 'mIoU', 'coco_panoptic/PQ', 'pascal_voc/mAP'}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_no_rule_is_broken_and_a_figure_of_the_evaluation_chooses_the_best_weights(path: Path):
    cfg = config(path.stem) if path.stem in ROWS else load_config(str(path))
    assert broken(cfg, []) == []  # nor is anything doubtful; data are elsewhere
    hook = cfg.default_hooks.checkpoint
    metrics = cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
    given = [figure_names(metric) for metric in metrics]
    assert None not in given
    assert hook.save_best in {name for names in given for name in names}
    assert hook.save_best in HEADLINES
    # the order of better and worse is known as well
    kind = class_of(hook, 'hook', cfg)
    assert kind(**{key: value for key, value in hook.items() if key != 'type'}).rules == ['greater']


def test_all_recipes_are_looked_at():
    assert len(FILES) > 100
