"""A run of the tests in which none passed fails."""
import pytest

pytest_plugins = 'pytester'


@pytest.mark.parametrize('body, status', [
    ('pass', 0), ('assert False', 1), ('import pytest; pytest.skip("no images here")', 5)])
@pytest.mark.parametrize('processes', [0, 1])
def test_a_run_fails_unless_a_test_passed(pytester, body, status, processes):
    pytester.makeconftest('from ran_tests import pytest_sessionfinish')
    pytester.makepyfile(f'def test_it():\n    {body}')
    assert pytester.runpytest('--numprocesses', str(processes)).ret == status


def test_listing_the_tests_passes(pytester):
    pytester.makeconftest('from ran_tests import pytest_sessionfinish')
    pytester.makepyfile('def test_it():\n    pass')
    assert pytester.runpytest('--collect-only').ret == 0
