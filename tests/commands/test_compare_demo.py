"""`compare --demo`: three models of one size and recipe, tuned, trained, timed and compared."""
import pytest
import torch

from convnext_dense.analysis.complexity import build_on_meta, measure_complexity
from convnext_dense.cli import main
from convnext_dense.commands import compare_demo
from convnext_dense.commands.compare_study import DONE
from convnext_dense.commands.complexity import parse_size
from convnext_dense.commands.options import build_runner
from convnext_dense.config import load_config, set_data_root, set_device
from convnext_dense.datasets.shapes import write_shapes

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
    """The demo in an empty folder, with two models, few images and two steps a training."""
    configs = {}
    for name in ('ConvNeXt', 'ResNet'):
        base = compare_demo.MODELS[name]
        configs[name] = tmp_path / base.name
        configs[name].write_text(TINY.format(base=str(base)))
    monkeypatch.setattr(compare_demo, 'MODELS', configs)
    monkeypatch.setattr(compare_demo, 'ROUNDS', 1)
    monkeypatch.setattr(compare_demo, 'SEEDS', 2)
    monkeypatch.setattr(compare_demo, 'DATA', dict(train=8, val=4, size=64))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_models_differ_in_their_backbone_alone_and_are_of_one_size():
    configs = [load_config(path) for path in compare_demo.MODELS.values()]
    totals = [measure_complexity(build_on_meta(cfg), parse_size(compare_demo.SIZE)).total
              for cfg in configs]
    for count in ('params', 'macs'):
        counts = [getattr(total, count) for total in totals]
        assert max(counts) / min(counts) < 1.05, count
    for cfg in configs:
        for head in ('decode_head', 'auxiliary_head'):
            cfg.model[head].in_channels = None
        cfg.model.backbone = None
        for key in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader',
                    'randomness'):
            assert cfg[key] == configs[0][key], key


COMMAND = ['compare', '--demo', '--no-static', '--resamples', '100']


@pytest.mark.slow
def test_the_demo_ends_in_a_report_and_goes_on_where_it_was_interrupted(tiny, capfd):
    assert main(COMMAND) == 0
    said = capfd.readouterr()
    folder = tiny / 'work_dirs' / 'comparison'
    assert f'report: {(folder / "report.html").as_uri()}' in said.err
    report = (folder / 'report.md').read_text()
    assert report in said.out
    fairness, figures = report.split('## Figures')
    assert 'Seeds 1, 2 of each model: images in the same order' in fairness
    assert 'Parameters of the whole models within' in fairness
    for name in compare_demo.MODELS:
        assert f'- {name}: 0.003 reached ' in fairness
        assert f'| {name} | ' in figures
    for column in ('mIoU, measured', 'inference images/s', 'training memory MiB'):
        assert column in figures
    assert '(2 seeds)' in figures and 'one seed' not in figures
    page = (folder / 'report.html').read_text()
    assert 'mIoU-by-throughput' in page and 'training-stages' in page

    (folder / 'resnet' / f'lr-{chosen(fairness, "ResNet")}_seed-2' / DONE).unlink()
    assert main(COMMAND) == 0
    again = capfd.readouterr()
    assert again.out.count('done before') == 7
    assert (folder / 'report.md').read_text().split('## Sources')[0].split('| inference')[0] == \
        report.split('## Sources')[0].split('| inference')[0]


def chosen(fairness, name):
    line = next(line for line in fairness.splitlines() if line.startswith(f'- {name}: '))
    return line.split('took ')[1].split(',')[0].rstrip('.')


def test_models_see_the_same_images_in_the_same_order_with_the_same_flips(tiny):
    write_shapes('shapes', train=8, val=1, size=64)
    batches = []
    for config in compare_demo.MODELS.values():
        cfg = load_config(config, {'randomness.seed': 1})
        cfg.work_dir = str(tiny / 'order')
        set_data_root(cfg, 'shapes')
        set_device(cfg, 'cpu')
        runner = build_runner(cfg)  # the models draw different numbers of weights
        loader = iter(runner.build_dataloader(cfg.train_dataloader, seed=runner.seed))
        batches.append([torch.stack(next(loader)['inputs']) for _ in range(4)])
    assert all(map(torch.equal, *batches))
    assert not torch.equal(batches[0][0], batches[0][1])


def test_trainings_with_other_settings_are_not_mixed(tiny, capfd):
    config = compare_demo.MODELS['ConvNeXt']
    work_dir = tiny / 'work_dirs' / 'comparison' / 'convnext' / 'lr-0.003_seed-0'
    work_dir.mkdir(parents=True)
    (work_dir / DONE).write_text('{"figure": 1, "config": "another"}')
    assert main(COMMAND) == 2
    assert f'{work_dir.relative_to(tiny)}: trained with other settings' in capfd.readouterr().err
    assert config.is_file()
