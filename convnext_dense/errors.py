"""The one error that a user's mistake raises."""
import html
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Bad input: a config, a file, an option or a data set that the toolkit cannot work with.

    The message says in one line what was found, what was expected and what to do; it names the
    file, key, class or image. The command line prints it without a traceback and exits with 2.
    """


@contextmanager
def convert_errors(what: str, advice: str) -> Iterator[None]:
    """Turn what other people's code raises inside into an InputError of one line.

    For code that works on what a config or a file holds and was not written to refuse it. The
    original error becomes the InputError's cause. Running out of memory is left as it is.

    Args:
        what (str): the setting or file that the code works on.
        advice (str): what to do.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise InputError(f'{what}: {in_one_line(error)}; {advice}') from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, or torch's on a GPU or a CPU."""
    # torch's class by its name, as torch takes long to import; on a CPU it has none
    return isinstance(error, MemoryError) or 'OutOfMemory' in type(error).__name__ or (
        isinstance(error, RuntimeError) and 'DefaultCPUAllocator' in str(error))


def printable(text: str | os.PathLike, kept: str = '') -> str:
    """A text without control characters, which could change what a terminal shows.

    Args:
        text: any.
        kept: control characters that stay as they are.
    """
    return ''.join(letter if letter.isprintable() or letter in kept else
                   letter.encode('unicode_escape').decode() for letter in os.fspath(text))


def html_text(text: str | os.PathLike) -> str:
    """A text for a page or an attribute of HTML, in which nothing is markup or a control character.
    """
    return html.escape(printable(text))


def markdown_text(text: str | os.PathLike) -> str:
    """A text for a cell of a Markdown table, in which nothing is markup or a control character."""
    return printable(text).replace('|', '\\|').replace('<', '&lt;')


def in_one_line(error: BaseException) -> str:
    """Class, first words and place of an error."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    # an assertion without a message: what it asserts
    text = (str(error).strip() or frame.line or 'no message').splitlines()[0][:200]
    return f'{type(error).__name__}: {text} ({Path(frame.filename).name}:{frame.lineno})'
