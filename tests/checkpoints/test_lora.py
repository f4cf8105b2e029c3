"""Adapters are merged wherever weights are read: the same maps, on the faster forms, too."""
import copy

import pytest
import torch
from tiny_weights import Detector, convnext, official_state, randomise

from convnext_dense.acceleration import prepare
from convnext_dense.checkpoints import load_weights, read_checkpoint
from convnext_dense.checkpoints.export import convert_checkpoint
from convnext_dense.checkpoints.fine_tuning import plan_fine_tuning
from convnext_dense.checkpoints.inspection import inspect_checkpoint
from convnext_dense.errors import InputError
from convnext_dense.optim.trainable import add_lora

pytest.importorskip('peft')
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
RANK, ALPHA = 2, 6


def adapted(version):
    """A backbone, and a copy with adapters that change its maps."""
    plain = randomise(convnext(version))
    model = copy.deepcopy(plain)
    add_lora(model, RANK, ALPHA)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if '.lora_' in name:
                parameter.copy_(torch.randn(parameter.shape) * .2)
    return plain, model


def write(model, path, **lora):
    torch.save(dict(state_dict=model.state_dict(),
                    meta=dict(lora=dict(dict(rank=RANK, alpha=ALPHA), **lora))), path)
    return path


@pytest.mark.parametrize('version', ['v1', 'v2'])
@torch.no_grad()
def test_the_merged_weights_give_the_adapted_model_s_maps(version, tmp_path):
    plain, model = adapted(version)
    path = write(model, tmp_path / 'a.pth')
    convert_checkpoint(path, tmp_path / 'b.safetensors')
    expected = model(IMAGES)
    assert not torch.allclose(expected[-1], plain(IMAGES)[-1], atol=.1)
    for source in (path, tmp_path / 'b.safetensors'):
        merged = convnext(version)
        report = load_weights(merged, source)
        assert not report.missing and not report.unexpected
        for one in (merged, *map(prepared, (merged, model), ('infer', 'infer')),
                    prepared(merged, 'train'), prepared(model, 'train')):
            for ours, theirs in zip(one(IMAGES), expected, strict=True):
                torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def prepared(model, mode):
    model = copy.deepcopy(model)
    prepare(model, mode)
    return model


def test_they_are_merged_as_peft_merges_them(tmp_path):
    from peft.tuners.lora import LoraLayer
    _, model = adapted('v1')
    path = write(model, tmp_path / 'a.pth')
    merged = convnext()
    load_weights(merged, path)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.merge()
    for (name, layer), theirs in zip(
            ((name, layer) for name, layer in merged.named_modules() if 'pwconv' in name),
            (module for module in model.modules() if isinstance(module, LoraLayer)), strict=True):
        torch.testing.assert_close(layer.weight, theirs.base_layer.weight, msg=name)


def test_an_export_holds_no_adapters(tmp_path):
    path = write(adapted('v1')[1], tmp_path / 'a.pth')
    convert_checkpoint(path, tmp_path / 'b.pth', to='timm')
    assert not any('lora' in key or 'base_layer' in key for key in
                   read_checkpoint(tmp_path / 'b.pth'))
    assert inspect_checkpoint(path)['adapters'] == 'LoRA of rank 2 in 14 layers'
    assert inspect_checkpoint(tmp_path / 'b.pth')['adapters'] is None


def test_weights_without_adapters_load_into_an_adapted_model(tmp_path):
    _, model = adapted('v1')
    before = {key: value.clone() for key, value in model.state_dict().items() if 'lora' in key}
    state = official_state()
    report = load_weights(model, state)
    assert torch.equal(model.stages[0][0].pwconv1.base_layer.weight,
                       state['stages.0.0.pwconv1.weight'])
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    assert {key for key in report.missing if not key.startswith('norm')} == set(before)


def test_starting_from_other_classes_leaves_adapters_as_they_are():
    model, other = Detector(convnext(), 4), randomise(Detector(convnext(), 3), 1)
    add_lora(model.backbone, RANK, ALPHA)
    plan = plan_fine_tuning(model.state_dict(), other.state_dict(), ('a', 'b', 'c'), ('b', 'c'),
                            'the file')
    assert not plan.started and not any('lora' in key for key in plan.tensors)
    assert torch.equal(plan.tensors['backbone.stages.1.0.pwconv2.base_layer.weight'],
                       other.backbone.stages[1][0].pwconv2.weight)


@pytest.mark.parametrize('spoil, told', [
    (lambda file: file['meta'].pop('lora'), r'not their rank and alpha \(meta.lora is None\)'),
    (lambda file: file['meta']['lora'].update(alpha='4'), 'not their rank and alpha'),
    (lambda file: file['state_dict'].pop('stages.0.0.pwconv1.lora_B.default.weight'),
     'stages.0.0.pwconv1 has no lora_A and lora_B that fit its weight of shape'),
    (lambda file: file['state_dict'].update(
        {'stages.0.0.pwconv1.lora_A.default.weight': torch.ones(2, 9)}), 'it is damaged'),
    (lambda file: file['state_dict'].update({'x.lora_A.default.weight': torch.ones(2, 2)}),
     'holds x.lora_A.default.weight without its layer')])
def test_adapters_that_cannot_be_merged_are_refused(spoil, told, tmp_path):
    path = write(adapted('v1')[1], tmp_path / 'a.pth')
    file = torch.load(path)
    spoil(file)
    torch.save(file, path)
    with pytest.raises(InputError, match=told):
        load_weights(convnext(), path)
