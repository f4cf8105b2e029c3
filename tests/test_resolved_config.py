"""A resolved config is data: it is read in full, and nothing that it holds runs."""
import ast
from importlib import import_module
from pathlib import Path

import pytest
from mmengine.config import Config

from convnext_dense.config import load_config
from convnext_dense.config_files import config_names
from convnext_dense.errors import InputError
from convnext_dense.prediction.model_files import find_model, pipeline_of_tests
from convnext_dense.resolved_config import (
    REGISTRIES,
    RUNNING,
    check_data_set,
    check_metrics,
    check_parts,
    parse_config,
)


@pytest.mark.parametrize('name', sorted(config_names()))
def test_every_config_of_the_package_is_read_as_written(name):
    cfg = load_config(name)
    found = parse_config(cfg.pretty_text, name)
    assert found.to_dict() == cfg.to_dict()
    check_parts(found.model, found.default_scope, name)
    if config_names()[name].parent.name != 'own':  # those get their pipelines from `new`
        check_parts(pipeline_of_tests(found, name), found.default_scope, name)


def test_what_python_writes_besides_literals_is_understood():
    cfg = parse_config("a = dict({'x.y': -1, 2: (1, )}, b=inf)\nc = {1, 2}\n"
                       'd = dict(type=torch.nn.modules.activation.GELU)\n', 'x')
    assert cfg.a == {'x.y': -1, 2: (1, ), 'b': float('inf')}
    assert cfg.d.type == 'torch.nn.modules.activation.GELU'


@pytest.mark.parametrize('text', [
    'import os', "a = open('x')", 'a = [i for i in range(9)]', 'a = 1\nprint(a)', 'a = b = 1',
    "a = __import__('os').system('touch ran')", "a = f'{1}'", 'a = lambda: 1', 'def f(): pass',
    'a = 1 +', 'a = dict(**{})', 'a = 2 ** 99', '(' * 500 + ')' * 500, "a = -'x'", '\0',
    'a: int = 1', 'a = ' + '[' * 5000])
def test_code_is_refused_in_one_line(text):
    with pytest.raises(InputError) as error:
        parse_config(text, 'the config in x.pth')
    assert str(error.value).startswith('the config in x.pth') and '\n' not in str(error.value)
    assert not Path('ran').exists()


@pytest.mark.parametrize('part', [
    dict(type='os.system', command='touch ran'),
    dict(type='subprocess.Popen', args='x'),
    dict(type='antigravity'),
    dict(type='mmengine.load', file='x.pth'),
    dict(type='mmengine.config.Config.fromfile', filename='x'),
    dict(type='mmdet.apis.DetInferencer', model='x'),
    dict(type='mmdet.apis.det_inferencer.DetInferencer', model='x'),
    dict(type='mmdet.models.detectors.DetInferencer', model='x'),
    dict(type='mmdet.apis.FasterRCNN'),
    dict(type='torch.load', f='x'),
    dict(type='torch.nn.Module.__init__'),
    dict(type='FCN', test_cfg=dict(nms=dict(type='__import__("os").getcwd()'))),
    dict(type='FasterRCNN', test_cfg=dict(nms=dict(type='exit'))),
    dict(type='KnowledgeDistillationSingleStageDetector', teacher_config='evil.py'),
    dict(type='CameraMotionCompensation', warp_mode='exit()'),
    dict(type='CameraMotionCompensation', warp_mode='cv2.MOTION_EUCLIDEAN'),
    dict(type='mmdet.StrongSORT', cmc=dict(type='mmdet.CameraMotionCompensation')),
    dict(type='FCN', warp_mode='[X["touch ran"] for X.__class_getitem__ in [cv2.os.system]]'),
    dict(type='FCN', warp_mode=b'exit'),
    dict(type='FCN', names=['a', 'exit()']),
    dict(type='KnowledgeDistillationSingleStageDetector', teacher_ckpt='evil.pth'),
    dict(type='mmdet.LAD', teacher_ckpt='evil.pth'),
    dict(type='mmseg.VPD', class_embed_path='evil.pth'),
    dict(type='mmseg.LoadBiomedicalData', decode_backend='pickle'),
    dict(type='LoadImageFromFile', backend_args=dict(backend='memcached', sys_path='.')),
    dict(type='LoadImageFromFile', file_client_args=dict(backend='petrel')),
    dict(type='torch.nn.modules.module.torch.jit.ScriptModule'),
    dict(type='FasterRCNN', backbone=[dict(neck=dict(type='mmdet.version'))])])
def test_parts_that_could_run_something_are_refused(part):
    with pytest.raises(InputError, match='--weights'):
        check_parts(dict(model=part), 'mmdet', 'x')
    assert not Path('ran').exists()


#: what reads a pickle, evaluates a text, imports by name, or fetches
DANGEROUS = {'eval', 'exec', 'load_checkpoint', '_load_checkpoint', 'load', 'loads', 'fromfile',
             'from_pretrained', 'create_model', 'import_module', '__import__', 'get_cfg',
             'instantiate_from_config', 'datafrombytes', 'load_state_dict_from_url'}
#: registered classes of these calls whose arguments no setting reaches when a model predicts
HARMLESS = {'RandomSamplingNegPos.load', 'LoadImageFromNpyFile.load'}


@pytest.mark.parametrize('package', ['mmdet', 'mmseg', 'mmcv'])
def test_the_classes_that_run_what_settings_name_are_known(package):
    """A version of a library with another such class makes this fail."""
    found = set()
    for path in Path(import_module(package).__file__).parent.rglob('*.py'):
        if not {'.mim', 'apis'} & set(path.parts):
            for node in ast.parse(path.read_text(encoding='utf-8')).body:
                found |= dangerous_calls(node)
    assert {call.partition('.')[0] for call in found - HARMLESS} <= RUNNING


def dangerous_calls(node):
    """``Class.function`` for the calls of a registered class that are made in prediction."""
    marks = ' '.join(map(ast.unparse, getattr(node, 'decorator_list', ())))
    if not isinstance(node, ast.ClassDef) or 'register_module' not in marks or not any(
            f'{registry}.' in marks for registry in REGISTRIES):
        return set()
    methods = [each for each in node.body if getattr(each, 'name', '') != 'init_weights']
    calls = {getattr(call.func, 'attr', getattr(call.func, 'id', ''))
             for method in methods for call in ast.walk(method) if isinstance(call, ast.Call)
             if not (isinstance(call.func, ast.Attribute) and call.func.attr == 'eval')}
    return {f'{node.name}.{name}' for name in calls & DANGEROUS}


@pytest.mark.parametrize('settings', [
    dict(type='os.system', command='touch ran'), dict(type='mmengine.BaseDataset'),
    dict(type='RefCocoDataset', split_file='x.p'), dict(type='CocoDataset', ann_file='x.pkl'),
    dict(type='mmdet.CocoDataset', ann_file='x.json', proposal_file='x.YAML'),
    dict(type='OneDLDataset'), dict(type='CrowdHumanDataset', extra_ann_file='/etc/x.json'),
    dict(type='CocoDataset', _scope_='module'),
    dict(type='CocoDataset', backend_args=dict(backend='memcached', sys_path='.')),
    dict(type='CocoDataset', pipeline=[dict(type='os.system', command='touch ran')]),
    dict(type='RepeatDataset', dataset=dict(type='subprocess.Popen'), times=2),
    dict(type='ConcatDataset'), dict(type=['CocoDataset'])])
def test_data_sets_that_could_run_something_are_refused(settings):
    with pytest.raises(InputError, match='--weights'):
        check_data_set(settings, 'mmdet', 'x')
    assert not Path('ran').exists()


@pytest.mark.parametrize('name', sorted(config_names()))
def test_data_sets_and_metrics_of_the_package_pass(name):
    cfg = load_config(name)
    for loader in ('train_dataloader', 'test_dataloader'):
        check_data_set((cfg.get(loader) or {}).get('dataset'), cfg.default_scope, name)
    check_metrics(cfg.get('test_evaluator'), cfg.default_scope, name)


@pytest.mark.parametrize('settings', [
    dict(type='os.system', command='x'), dict(type='DumpDetResults', out_file_path='x.pkl'),
    dict(type='IoUMetric', _scope_='module'), [dict(type='CocoMetric', ann_file='x.pkl')]])
def test_metrics_that_could_run_something_are_refused(settings):
    with pytest.raises(InputError, match='--weights'):
        check_metrics(settings, 'mmdet', 'x')


@pytest.mark.parametrize('kind', [
    'FasterRCNN', 'mmdet.FasterRCNN', 'mmdet.models.detectors.faster_rcnn.FasterRCNN',
    'mmdet.models.FasterRCNN', 'convnext_dense.ConvNeXt',
    'convnext_dense.models.convnext.ConvNeXt', 'convnext_dense.models.ConvNeXt',
    'BN', 'nms', 'RoIAlign',
    'torch.nn.modules.activation.GELU', 'Kaiming', 'mmseg.EncoderDecoder', 'MaxIoUAssigner'])
def test_registered_parts_pass(kind):
    check_parts([dict(type=kind)], 'mmdet', 'x')


def checkpoint_with(path, cfg_text, **meta):
    import torch
    torch.save(dict(state_dict=dict(x=torch.zeros(1)), meta=dict(cfg=cfg_text, **meta)), path)
    return path


def test_a_hostile_work_directory_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'evil.py').write_text("open('ran', 'w')\nmodel = dict(type='FCN')\n")
    (tmp_path / 'module.py').write_text("open('ran', 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for text in ("custom_imports = dict(imports=['module'])\nmodel = dict(type='module.X')\n",
                 "default_scope = 'module'\nmodel = dict(type='mmdet.FasterRCNN')\n",
                 "model = dict(type='mmdet.FasterRCNN', _scope_='module')\n",
                 "model = dict(type='mmdet.FasterRCNN', neck=dict(type='mmdet.FPN', "
                 "_scope_=['module']))\n",
                 "model = dict(type='module')\n", "open('ran', 'w')\n", "_base_ = 'evil.py'\n",
                 "model = dict(type='KnowledgeDistillationSingleStageDetector', "
                 "teacher_config='evil.py')\n", '', 'x = 1\n', "model = 'FCN'\n"):
        text += "test_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))\n"
        path = checkpoint_with(tmp_path / 'x.pth', text)
        with pytest.raises(InputError):
            find_model(path)
        with pytest.raises(InputError):
            find_model(tmp_path, path)
    with pytest.raises(InputError):  # two .py files, neither of them read
        find_model(checkpoint_with(tmp_path / 'y.pth', None))
    assert not (tmp_path / 'ran').exists()


def test_the_only_config_of_a_folder_is_read_as_data(tmp_path):
    cfg = load_config('upernet_convnext_shapes')
    path = checkpoint_with(tmp_path / 'x.pth', None)
    (tmp_path / 'config.py').write_text(cfg.pretty_text)
    files = find_model(path)
    assert isinstance(files.cfg, Config) and files.cfg.model == cfg.model
    assert files.names == ('background', 'disc', 'ring', 'square', 'triangle', 'star')


def test_names_are_those_of_the_training(tmp_path):
    cfg = load_config('upernet_convnext_shapes')
    path = checkpoint_with(tmp_path / 'x.pth', cfg.pretty_text,
                           dataset_meta=dict(classes=list('abcdef'), palette=[[1, 2, 3]] * 6))
    files = find_model(path)
    assert files.names == tuple('abcdef') and files.palette is None


def test_names_and_colours_of_a_data_set_type(tmp_path):
    cfg = load_config('upernet_convnext-t_8xb2-amp-160k_ade20k-512x512')
    files = find_model(checkpoint_with(tmp_path / 'x.pth', cfg.pretty_text))
    assert files.names[:2] == ('wall', 'building') and len(files.palette) == 150
    assert files.palette[0] == [120, 120, 120]


@pytest.mark.parametrize('model, weights, words', [
    ('nowhere', None, 'nowhere'), ('upernet_convnext_shapes', None, 'with --weights'),
    ('x.pth', 'y.pth', 'both weights'), ('{}', None, 'no whole checkpoint'),
    ('convnext-tiny_in1k', None, 'convnext-tiny_in1k')])
def test_what_leads_to_no_model_is_named(tmp_path, model, weights, words):
    with pytest.raises(InputError, match=words):
        find_model(model.format(tmp_path), weights)
