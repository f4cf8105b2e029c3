"""Values in a state of training that no run has: one line that says the file is damaged."""
import pytest
import torch

from convnext_dense.errors import InputError
from convnext_dense.runtime.state_checks import (
    check_counts,
    check_groups,
    check_hub,
    check_kinds,
    check_optimizer,
    check_place,
    check_seed,
)


def refused(check, *arguments):
    with pytest.raises(InputError) as caught:
        check(*arguments, 'x.pth')
    assert str(caught.value).startswith('x.pth') and '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('count', [-1, True, 1., None, '3', [], 'a\nb'])
def test_counts(count):
    check_counts(dict(iter=3), ['iter'], 'x.pth')
    assert 'iter is ' in refused(check_counts, dict(iter=count), ['iter'])


@pytest.mark.parametrize('seed', [-1, 2**32, True, '1', 1.5, []])
def test_seeds(seed):
    for good in (None, 0, 2**32 - 1):
        check_seed(good, 'x.pth')
    assert 'its seed is' in refused(check_seed, seed)


@pytest.mark.parametrize('epoch, batch', [(11, 0), (0, 10**18), (10**30, 1)])
def test_a_place_that_no_run_reaches_would_draw_indices_without_end(epoch, batch):
    check_place(dict(epoch=2, batch=10), 10, 'x.pth')
    check_place(dict(epoch=0, batch=640), 10, 'x.pth')  # the batch of all processes was larger
    assert 'which no run reaches' in refused(check_place, dict(epoch=epoch, batch=batch), 10)


@pytest.mark.parametrize('own, kept, fits', [
    (1, 2., True), (1., torch.tensor(2.), True), (1, 'a', False), (1, None, False),
    (1, True, False), (1., float('nan'), False), (1, 10**200, False), (True, False, True),
    (True, 1, False), ('a', 'b', True), ('a', 1, False), ([1, 2], (3, 4), True),
    ([1, 2], [3, 'x'], False), ([1], 5, False), (None, 'anything', True),
    (dict(a=1), dict(a=2, b='new'), True), (dict(a=1), dict(a='x'), False), (dict(a=1), 5, False)])
def test_kinds(own, kept, fits):
    if fits:
        check_kinds(own, kept, 'a value', 'x.pth')
    else:
        assert 'the file is damaged' in refused(check_kinds, own, kept, 'a value')


def adamw():
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer


def test_groups_of_another_optimizer_or_with_texts_for_numbers():
    groups = adamw().param_groups
    check_groups(groups, adamw().state_dict()['param_groups'], 'x.pth')
    sgd = torch.optim.SGD(torch.nn.Linear(2, 3).parameters(), lr=1.).state_dict()['param_groups']
    assert 'of another optimizer' in refused(check_groups, groups, sgd)
    kept = [dict(adamw().state_dict()['param_groups'][0], lr='fast')]
    assert "lr of a group of the optimizer's parameters is 'fast'" in refused(
        check_groups, groups, kept)
    for odd in (None, 5, [5], {}):
        assert 'expected a list of dicts' in refused(check_groups, groups, odd)


@pytest.mark.parametrize('key, value', [
    ('exp_avg', torch.ones(7)), ('exp_avg', 5), ('exp_avg_sq', torch.ones(3, 2, dtype=torch.int64)),
    ('step', 'x'), ('step', torch.ones(4))])
def test_what_an_optimizer_keeps_of_a_parameter_fits_it(key, value):
    optimizer = adamw()
    check_optimizer(optimizer, 'x.pth')
    next(iter(optimizer.state.values()))[key] = value
    assert f'{key} of the optimizer is' in refused(check_optimizer, optimizer)


@pytest.mark.parametrize('hub', [
    None, 5, {}, dict(log_scalars=[], runtime_info={}, resumed_keys={}),
    dict(log_scalars={1: 2}, runtime_info={}, resumed_keys={}),
    dict(log_scalars={}, runtime_info=dict(best_score='high'), resumed_keys={})])
def test_message_hubs(hub):
    check_hub(dict(log_scalars={}, runtime_info=dict(best_score=.5, iter=3), resumed_keys={}),
              'x.pth')
    refused(check_hub, hub)
