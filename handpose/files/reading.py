"""Reading bytes, text and JSON that may be missing, damaged or hostile.

Every failure becomes one kind of error, whose message names the file and says what was expected, what was found and
what to do. Arrays are read by `handpose.files.npz`, YAML by `handpose.files.yaml_files`.
"""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

_LONGEST_INTEGER = 18  # digits, so that every integer fits into 64 bits
_REASONS = {
    errno.ENOENT: 'does not exist',
    errno.EISDIR: 'is a folder, but a file was expected',
    errno.ENOTDIR: 'does not exist: a component of its path is a file, not a folder',
    errno.ELOOP: 'is a symbolic link that leads back to itself',
    errno.EACCES: 'may not be read: permission is denied',
    errno.EPERM: 'may not be read: permission is denied',
    errno.ENAMETOOLONG: 'does not exist: its name is longer than the file system allows',
    errno.EIO: 'cannot be read: the disk or the network reports an error',
    errno.ESTALE: 'cannot be read: the network file system has lost it',
    errno.EMFILE: 'cannot be opened: this process has too many open files',
    errno.ENFILE: 'cannot be opened: this machine has too many open files',
}
_KINDS = {
    bool: 'true or false',
    dict: 'keys with values',
    list: 'a list',
    str: 'a text',
    int: 'a whole number',
    float: 'a number',
}


class FileError(ValueError):
    """A file that cannot be used; the message names it and says what was expected, what was found and what to do."""


def read_bytes(path: str | Path, *, error: type[Exception] = FileError, advice: str = '') -> bytes:
    """Reads a file.

    Args:
        path: the file.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        Its contents.

    Raises:
        error: the file is missing, is no regular file, or cannot be read.
    """
    try:
        check_regular(path)
        return Path(path).read_bytes()
    except (OSError, ValueError, MemoryError) as problem:
        raise error(message(path, reason(problem), advice)) from problem


def read_text(path: str | Path, *, error: type[Exception] = FileError, advice: str = '') -> str:
    """Reads a UTF-8 text file.

    Args:
        path: the file.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        Its text without the byte-order mark, with `\\n` at every line's end.

    Raises:
        error: the file cannot be read, or is not UTF-8.
    """
    return decode(read_bytes(path, error=error, advice=advice), path, error=error, advice=advice)


def read_json(
    path: str | Path,
    kind: type | tuple[type, ...] = dict,
    *,
    allow_nan: bool = False,
    error: type[Exception] = FileError,
    advice: str = '',
) -> Any:
    """Reads a JSON file.

    Args:
        path: the file, UTF-8 with or without a byte-order mark.
        kind: what the file must hold.
        allow_nan: whether the constants NaN, Infinity and -Infinity, which JSON does not have, are allowed.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        What the file holds.

    Raises:
        error: the file cannot be read; is not JSON (the message gives line and column); has a key twice, an integer
            beyond 64 bits, or too many levels; or holds something else than `kind`.
    """
    data = read_bytes(path, error=error, advice=advice)
    return parse_json(data, path, kind, allow_nan=allow_nan, error=error, advice=advice)


def parse_json(
    data: bytes | str,
    where: str | Path,
    kind: type | tuple[type, ...] = dict,
    *,
    allow_nan: bool = False,
    error: type[Exception] = FileError,
    advice: str = '',
) -> Any:
    """Parses JSON in memory; see `read_json`.

    Args:
        data: the JSON text.
        where: names the source in messages.
        kind: what the text must hold.
        allow_nan: whether NaN, Infinity and -Infinity are allowed.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        What the text holds.

    Raises:
        error: as in `read_json`.
    """
    text = data if isinstance(data, str) else decode(data, where, error=error, advice=advice)
    try:
        found = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_constant=_constants_allowed if allow_nan else _no_constants,
        )
    except json.JSONDecodeError as problem:
        what = f'is not valid JSON (line {problem.lineno}, column {problem.colno})'
        raise error(message(where, what if text.strip() else 'must be JSON, but is empty', advice)) from problem
    except FileError as problem:  # from the functions given to json.loads
        raise error(message(where, str(problem), advice)) from problem
    except RecursionError as problem:
        raise error(message(where, 'is nested too deeply to be read', advice)) from problem
    except MemoryError as problem:
        raise error(message(where, reason(problem), advice)) from problem
    return check_kind(found, where, kind, error, advice)


def visible_names(folder: str | Path) -> list[str]:
    """Lists the names in a folder that do not begin with a dot.

    macOS leaves a file `._NAME` next to every file it copies to a foreign disk, and `.DS_Store` in every folder.

    Args:
        folder: the folder.

    Returns:
        The sorted names; an empty list where the folder is missing.
    """
    return sorted(name for name in os.listdir(folder) if not is_hidden(name)) if os.path.isdir(folder) else []


def visible_paths(folder: str | Path, pattern: str = '*') -> list[Path]:
    """Lists the paths that match a pattern, none of them hidden or in a hidden folder.

    Args:
        folder: where to look; only what lies below it counts as hidden.
        pattern: as for `Path.glob`.

    Returns:
        The sorted paths.
    """
    folder = Path(folder)
    return sorted(p for p in folder.glob(pattern) if not any(map(is_hidden, p.relative_to(folder).parts)))


def is_hidden(name: str) -> bool:
    """Tells whether a file is ignored wherever a folder is listed.

    Args:
        name: the file's name.

    Returns:
        Whether it begins with a dot.
    """
    return name.startswith('.')


def is_path_below(name: str) -> bool:
    """Tells whether a name read from a file is a plain path that stays below the folder it is joined to.

    It must be relative, with slashes, without '', '.' or '..' as a component, and without backslashes, colons (drive
    letters) and characters that are not printable.

    Args:
        name: the path.

    Returns:
        Whether it is one.
    """
    components = name.split('/')
    return name.isprintable() and not set(name) & set('\\:\ufffd') and not {'', '.', '..'} & set(components)


def inside_root(root: str | Path, name: Any, where: object, *, error: type[Exception] = FileError) -> Path:
    """Joins a path that was read from a file to the folder that it must stay in.

    Symbolic links below `root` are followed: whoever put the folder there made them.

    Args:
        root: the folder.
        name: the path from there; anything but text is refused.
        where: names the file that the name is from, and where in it.
        error: what is raised; it is called with the message.

    Returns:
        The joined path.

    Raises:
        error: `name` is no text, or leads elsewhere; nothing was opened.
    """
    if not isinstance(name, str) or not is_path_below(name):
        what = f'names {str(name)[:80]!r}, expected a path below {root}, without ".." and backslashes'
        raise error(message(where, what, 'nothing was opened; get the file from its source again'))
    return Path(root) / name


def check_regular(path: str | Path) -> None:
    """Refuses what is not a regular file: opening a named pipe would wait for ever.

    Args:
        path: the file.

    Raises:
        OSError: it is missing, cannot be reached, or is a folder.
        FileError: it is a pipe, a socket or a device. The message lacks the file's name: see `reason` and `message`.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise FileError('is not a regular file, but a pipe, a socket or a device')


def reason(problem: Exception) -> str:
    """Says in plain words why a file cannot be opened or read.

    Args:
        problem: what opening or reading it raised, an OSError, ValueError or MemoryError.

    Returns:
        A predicate, to be put after the file's name.
    """
    if isinstance(problem, FileError):
        return str(problem)
    if isinstance(problem, MemoryError):
        return 'is too large for the memory of this machine'
    if isinstance(problem, OSError):
        number = problem.errno or 0
        return _REASONS.get(number) or f'cannot be read: {os.strerror(number).lower() if number else "unknown reason"}'
    return 'cannot be a file: its name has a character that no file system allows'


def message(where: object, what: str, advice: str = '') -> str:
    """Joins the components of an error message.

    Args:
        where: the file.
        what: what is wrong with it, a predicate.
        advice: what to do.

    Returns:
        The message.
    """
    # A name with a line break or a terminal's control codes must not change how the message looks.
    name = ''.join(c if c.isprintable() else repr(c)[1:-1] for c in str(where))
    return f'{name} {what}; {advice}' if advice else f'{name} {what}'


def kind_of(value: Any) -> str:
    """Says in plain words what kind of value JSON or YAML holds.

    Args:
        value: what was read.

    Returns:
        Text such as 'a list' or 'nothing'.
    """
    return 'nothing' if value is None else _KINDS.get(type(value), f'a {type(value).__name__}')


def check_kind(
    found: Any, where: str | Path, kind: type | tuple[type, ...], error: type[Exception], advice: str
) -> Any:
    """Checks what a file holds.

    Args:
        found: what was read.
        where: names the source in messages.
        kind: the type or types expected.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        `found`.

    Raises:
        error: `found` has another type.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(found) not in kinds:  # `type`, because True is an int
        expected = ' or '.join(_KINDS.get(k, k.__name__) for k in kinds)
        raise error(message(where, f'must hold {expected}, but holds {kind_of(found)}', advice))
    return found


def decode(data: bytes, where: str | Path, *, error: type[Exception] = FileError, advice: str = '') -> str:
    """Decodes UTF-8.

    Args:
        data: the text.
        where: names the source in messages.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        The text without a byte-order mark and with `\\n` at every line's end.

    Raises:
        error: the bytes are not UTF-8.
    """
    try:
        text = bytes(data).decode('utf-8-sig')
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b'\n') + 1
        what = f'must be UTF-8 text, but line {line} is not (byte {problem.start + 1} of the file)'
        raise error(message(where, what, advice)) from problem
    except MemoryError as problem:
        raise error(message(where, reason(problem), advice)) from problem
    return text.replace('\r\n', '\n').replace('\r', '\n')


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise FileError(f'has the key {next(key for key in keys if keys.count(key) > 1)!r} twice in one object')
    return found


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER and not -(2**63) <= _limited(digits) < 2**63:
        raise FileError(f'holds an integer that does not fit into 64 bits ({digits[:12]}..., {len(digits)} digits)')
    return int(digits)


def _limited(digits: str) -> int:
    return int(digits) if len(digits) < 40 else 2**64  # Python refuses to convert thousands of digits


def _no_constants(name: str) -> NoReturn:
    raise FileError(f'holds {name}, which is not a number')


_constants_allowed = {'NaN': float('nan'), 'Infinity': float('inf'), '-Infinity': float('-inf')}.__getitem__
