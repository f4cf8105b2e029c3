"""What the benchmarks of fine-tuning and of freezing compare."""
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.fine_tuning import KNOWN, SEEDS, TASKS, job, of_known_classes
from benchmarks.frozen import kept_for_backward
from convnext_dense.datasets.loading import replace
from convnext_dense.datasets.shapes import BACKGROUND, CLASSES, SCENE_CLASSES, UNLABELLED


def test_label_maps_of_the_first_model_have_its_classes_and_background_elsewhere():
    settings = of_known_classes('segmenter')
    assert settings['classes'] == ['background', *KNOWN]
    values = settings['train_dataloader.dataset.pipeline.1.label_values']
    stored = np.array([UNLABELLED, BACKGROUND, *range(2, 2 + len(CLASSES))])
    names = ['unlabelled', *SCENE_CLASSES]
    for before, after in zip(stored, replace(stored, values), strict=True):
        name = names[before]
        expected = name if name in (*settings['classes'], 'unlabelled') else 'background'
        assert ['unlabelled', *settings['classes']][after] == expected


def test_both_starts_train_alike():
    for task in TASKS:
        for seed in SEEDS:
            nothing, tuned = (job(task, name, 'data', Path('work'), 40, seed, **more)[5]
                              for name, more in (('from nothing', {}),
                                                 ('from three classes', dict(init_from='x'))))
            assert tuned.pop('init_from') == 'x' and nothing == tuned
            assert nothing['randomness.seed'] == seed and nothing['train_cfg.max_iters'] == 40


def test_bytes_kept_for_the_backward_pass_are_counted_once_and_without_parameters():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(16, 4)
    whole = kept_for_backward(model, lambda: model(x).sum())
    assert whole == 4 * 16 * (4 + 8)  # the input, and the ReLU's output for both that need it
    model[0].requires_grad_(False)
    assert kept_for_backward(model, lambda: model(x).sum()) == 4 * 16 * 8
    model.requires_grad_(False)
    assert kept_for_backward(model, lambda: model(x).sum()) == 0
