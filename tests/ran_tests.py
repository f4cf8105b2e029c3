"""A run in which no test passed has shown nothing: it fails, though each was only skipped.

pytest itself fails only where none was collected.
"""
import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """End with pytest's status for "no tests" where all were skipped."""
    reporter = session.config.pluginmanager.get_plugin('terminalreporter')
    is_worker = hasattr(session.config, 'workerinput')  # of pytest-xdist, which counts nothing
    only_lists = session.config.option.collectonly
    if exitstatus == 0 and reporter and not is_worker and not only_lists and \
            not reporter.stats.get('passed'):
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
