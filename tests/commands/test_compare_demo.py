"""`compare --demo`: three models of one size and recipe, trained, timed and compared."""
from pathlib import Path

import pytest

from convnext_dense.analysis.complexity import build_on_meta, measure_complexity
from convnext_dense.cli import main
from convnext_dense.commands import compare_demo, demo
from convnext_dense.config import load_config

TINY = '''
_base_ = {base!r}
train_cfg = dict(max_iters=2, val_interval=2)
train_dataloader = dict(batch_size=2)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=10, pct_start=0.2, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=2))
'''


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The demo in an empty folder, with few images and two steps a model."""
    configs = {}
    for name, base in compare_demo.MODELS.items():
        configs[name] = tmp_path / base.name
        configs[name].write_text(TINY.format(base=str(base)))
    monkeypatch.setattr(compare_demo, 'MODELS', configs)
    monkeypatch.setattr(compare_demo, 'ROUNDS', 1)
    monkeypatch.setattr(demo, 'DATA', dict(train=8, val=4, size=96))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_models_differ_in_their_backbone_alone_and_are_of_one_size():
    configs = [load_config(path) for path in compare_demo.MODELS.values()]
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader', 'randomness'):
        assert all(cfg[key] == configs[0][key] for cfg in configs), key
    for cfg in configs:
        cfg.model.neck.in_channels = None
        cfg.heads = {key: value for key, value in cfg.model.items() if key != 'backbone'}
        assert cfg.heads == configs[0].heads
    totals = [measure_complexity(build_on_meta(load_config(path)), (160, 160)).total
              for path in compare_demo.MODELS.values()]
    for count in ('params', 'macs'):
        counts = [getattr(total, count) for total in totals]
        assert max(counts) / min(counts) < 1.1


def test_the_demo_ends_in_a_report_on_trained_and_timed_models(tiny, capsys):
    assert main(['compare', '--demo', '--no-static', '--resamples', '100']) == 0
    said = capsys.readouterr()
    folder = tiny / 'work_dirs' / 'comparison'
    assert f'report: {(folder / "report.html").as_uri()}' in said.err
    for name in ('ConvNeXt', 'Swin', 'ResNet'):
        assert f'| {name} | ' in said.out
    for column in ('box AP, measured', 'mask AP, measured', 'inference images/s',
                   'training memory MiB'):
        assert column in said.out
    assert 'Swin against ConvNeXt' in said.out
    page = Path(folder, 'report.html').read_text()
    assert 'bbox-by-throughput' in page and 'training-stages' in page
