"""Reading TOML that may be missing, damaged or hostile."""

import sys
from pathlib import Path
from typing import Any

from handpose.files.reading import FileError, message, read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: str | Path, *, error: type[Exception] = FileError, advice: str = '') -> dict[str, Any]:
    """Reads a TOML file.

    Args:
        path: the file, UTF-8 with or without a byte-order mark.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        The tables and values of the file.

    Raises:
        error: the file cannot be read, or is not TOML; the message gives the parser's reason with line and column.
    """
    text = read_text(path, error=error, advice=advice)
    try:
        return tomllib.loads(text)
    except RecursionError as problem:
        raise error(message(path, 'is nested too deeply to be read', advice)) from problem
    except ValueError as problem:  # the parser's own error is one, and so is that of dates and of endless integers
        raise error(message(path, f'is not valid TOML: {problem}', advice)) from problem
