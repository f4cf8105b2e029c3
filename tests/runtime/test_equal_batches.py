"""The same images a step give the same weights, however many processes and steps they are cut into.

Without what a process draws or averages alone: drop path, dropout and batch norm (a norm of
groups is in its place). In float64: in float32 a different sum flips a ReLU now and then, and AdamW
makes much of it. docs/scaling.md says for which losses this is so.
"""
import pytest
from test_sharding import distance, read, run

#: an average would be taken of each step between two updates, too; the forms are for float32
PLAIN = {'custom_hooks': [], 'acceleration': dict(forms=False)}


@pytest.fixture(scope='module')
def ended(tiny_shapes, tmp_path_factory):
    folder = tmp_path_factory.mktemp('batches')

    def train(*scenarios):
        names = [scenario['name'] for scenario in scenarios
                 if not (folder / scenario['name']).exists()]
        run([scenario for scenario in scenarios if scenario['name'] in names], tiny_shapes, folder,
            timeout=3000)
        return [read(folder / scenario['name'] / f'iter_{scenario["iters"]}.pth')['state_dict']
                for scenario in scenarios]
    return train


def scenario(processes, batch, updates, accumulated=1, **options):
    return dict(name=f'{processes}x{batch}x{accumulated}-{updates}', processes=processes,
                batch=batch, double=True, iters=updates * accumulated, options={
                    **PLAIN, **options, 'optim_wrapper.accumulative_counts': accumulated})


def test_two_processes_and_two_steps_together_are_one_batch(ended):
    one, two, together = ended(scenario(1, 4, 4), scenario(2, 2, 4), scenario(1, 2, 4, 2))
    assert distance(two, one) < 1e-9 and distance(together, one) < 1e-9


@pytest.mark.slow
def test_after_twenty_updates_too(ended):
    one, *others = ended(scenario(1, 4, 20), scenario(2, 2, 20), scenario(4, 1, 20),
                         scenario(1, 1, 20, 4))
    assert all(distance(other, one) < 1e-9 for other in others)
