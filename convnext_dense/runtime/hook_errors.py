"""What the error of a failing hook names: its settings, or its own code."""
import traceback
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from convnext_dense.errors import InputError, convert_errors, in_one_line, is_out_of_memory

#: packages whose hooks fail because of what they were told, not of what they are
PACKAGES = ('mmengine', 'mmdet', 'mmseg', 'mmpretrain', 'convnext_dense')


def call_named(hook: Hook, moment: str, runner: Runner, **kwargs: Any) -> None:
    """Call a method of a hook, and name the hook where it fails.

    Before the run, and in hooks of the libraries at any time, an error is one of settings: one
    line. What a user's own hook raises during the run is a bug that its traceback shows, so it
    comes out as it is, after a line in the log that names the hook.

    Args:
        hook: the hook.
        moment: the method, such as ``after_train_iter``.
        runner: of the run.
        kwargs: of the method.

    Raises:
        InputError: a hook of the libraries failed, or any hook before the run.
    """
    what = f'the hook {type(hook).__name__} failed in {moment}'
    try:
        if moment == 'before_run':
            with convert_errors(what, 'look at its settings'):
                getattr(hook, moment)(runner, **kwargs)
        else:
            getattr(hook, moment)(runner, **kwargs)
    except (InputError, OSError):
        raise
    except Exception as error:
        if is_out_of_memory(error) or raised_in_hook(error):
            raise
        if type(hook).__module__.split('.')[0] in PACKAGES:
            raise InputError(f'{what}: {in_one_line(error)}; look at its settings') from error
        runner.logger.error(f'{what}: {in_one_line(error)}; its traceback follows')
        raise


def raised_in_hook(error: BaseException) -> bool:
    """Whether an error came out of a hook that a runner called, and was named there."""
    return any(frame.name == call_named.__name__ for frame in traceback.extract_tb(
        error.__traceback__)[1:])
