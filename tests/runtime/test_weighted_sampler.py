"""Several data sets, each seen as often as its weight says."""
from collections import Counter
from itertools import islice

import pytest
from killing import final_state, same
from mmengine.registry import DATASETS
from test_resuming import StopAt, train
from tiny import ToyData, toy_config
from torch.utils.data import ConcatDataset

from convnext_dense.errors import InputError
from convnext_dense.registry import DATA_SAMPLERS
from convnext_dense.runtime import WeightedInfiniteSampler


@DATASETS.register_module()
class ToySets(ConcatDataset):
    """Toy data sets of some lengths."""

    def __init__(self, lengths):
        super().__init__([ToyData(length=length) for length in lengths])


def sets(*lengths):
    return ToySets(lengths)


def test_each_set_has_its_share_and_all_its_images_before_one_comes_again():
    sampler = DATA_SAMPLERS.build(dict(type='convnext_dense.WeightedInfiniteSampler',
                                       weights=[3, 1, 0], dataset=sets(10, 20, 5), seed=1))
    drawn = list(islice(iter(sampler), 4000))
    first, second = ([index for index in drawn if index in part]
                     for part in (range(10), range(10, 30)))
    assert len(first) + len(second) == 4000 and abs(len(first) - 3000) < 100
    for part, size in ((first, 10), (second, 20)):
        rounds = [part[at:at + size] for at in range(0, len(part) - size, size)]
        assert all(len(set(one)) == size for one in rounds) and rounds[0] != rounds[1]
    assert len(sampler) == 35


def test_without_shuffling_each_set_is_in_its_order():
    drawn = islice(iter(WeightedInfiniteSampler(sets(3, 4), [1, 1], shuffle=False, seed=0)), 40)
    found = [index for index in drawn if index >= 3]
    assert found == ([3, 4, 5, 6] * 20)[:len(found)]


def test_processes_share_out_what_one_would_draw():
    whole = WeightedInfiniteSampler(sets(7, 9), [1, 2], seed=3)
    shares = []
    for rank in range(3):
        sampler = WeightedInfiniteSampler(sets(7, 9), [1, 2], seed=3)
        sampler.rank, sampler.processes = rank, 3
        shares.append(list(islice(iter(sampler), 50)))
    assert [index for step in zip(*shares) for index in step] == list(islice(iter(whole), 150))


@pytest.mark.parametrize('data, weights, words', [
    (ToyData(length=4), [1], 'of type=.ConcatDataset. with several'),
    (sets(4, 4), [1], 'give 2 numbers'), (sets(4, 4), 2, 'give 2 numbers'),
    (sets(4, 4), [1, -1], r'weights\[1\]=-1; give a number of 0'),
    (sets(4, 4), [1, 'much'], r"weights\[1\]='much'; give"),
    (sets(4, 4), [1, float('nan')], r'weights\[1\]=nan'),
    (sets(4, 0), [1, 1], r'datasets\[1\] has no images, but the weight 1'),
    (sets(4, 4), [0, 0], 'all weights are 0')])
def test_what_does_not_fit_is_one_line(data, weights, words):
    with pytest.raises(InputError, match=words):
        WeightedInfiniteSampler(data, weights, seed=0)


def test_a_resumed_run_sees_the_same_samples(tmp_path):
    one, two = (toy_config(tmp_path / name, by_epoch=False, workers=2) for name in ('one', 'two'))
    for config in (one, two):
        loader = config.train_dataloader
        loader.sampler = dict(type='convnext_dense.WeightedInfiniteSampler', weights=[1, 3])
        loader.dataset = dict(type='ToySets', lengths=(4, 6))
    _, whole = train(one)
    _, first = train(two, StopAt(7))
    _, second = train(two, resume=True)
    assert first.batches + second.batches == whole.batches
    assert same(final_state(tmp_path / 'one'), final_state(tmp_path / 'two'))
    assert len(Counter(map(tuple, whole.batches))) > 3
