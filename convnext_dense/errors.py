"""The one error that a user's mistake raises."""


class InputError(ValueError):
    """Bad input: a config, a file, an option or a data set that the toolkit cannot work with.

    The message says in one line what was found, what was expected and what to do; it names the
    file, key, class or picture. The command line prints it without a traceback and exits with 2.
    """
