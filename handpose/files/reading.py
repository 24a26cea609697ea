"""Reading bytes, text, JSON and YAML that may be missing, damaged or hostile.

Every failure becomes one kind of error, whose message names the file and says what was expected, what was found and
what to do. Arrays are read by `handpose.files.npz`.
"""

import errno
import json
import os
import re
import stat
from pathlib import Path

import yaml

DEEPEST = 100  # levels of nesting; no format that this library reads has more than ten
LARGEST_YAML = 10_000_000  # values, where aliases repeat parts of the file
_LONGEST_INTEGER = 18  # digits, so that every integer fits into 64 bits
_REASONS = {
    errno.ENOENT: 'does not exist',
    errno.EISDIR: 'is a folder, but a file was expected',
    errno.ENOTDIR: 'does not exist: a part of its path is a file, not a folder',
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


def read_bytes(path, *, error=FileError, advice=''):
    """Returns the contents of a file.

    Args:
        path (str | Path): the file.
        error (type[Exception]): what is raised; it is called with the message.
        advice (str): what the user should do; ends every message.

    Raises:
        error: the file is missing, is no regular file, or cannot be read.
    """
    try:
        check_regular(path)
        return Path(path).read_bytes()
    except (OSError, ValueError, MemoryError) as problem:
        raise error(message(path, reason(problem), advice)) from problem


def read_text(path, *, error=FileError, advice=''):
    """Returns the contents of a UTF-8 text file without its byte-order mark.

    Args:
        path (str | Path): the file.
        error (type[Exception]): what is raised; it is called with the message.
        advice (str): what the user should do; ends every message.

    Raises:
        error: the file cannot be read, or is not UTF-8.
    """
    return decode(read_bytes(path, error=error, advice=advice), path, error=error, advice=advice)


def read_json(path, kind=dict, *, allow_nan=False, error=FileError, advice=''):
    """Returns the contents of a JSON file.

    Args:
        path (str | Path): the file, UTF-8 with or without a byte-order mark.
        kind (type | tuple[type, ...]): what the file must hold.
        allow_nan (bool): whether the constants NaN, Infinity and -Infinity, which JSON does not have, may be there.
        error (type[Exception]): what is raised; it is called with the message.
        advice (str): what the user should do; ends every message.

    Raises:
        error: the file cannot be read; is not JSON (the message gives line and column); has a key twice, an integer
            beyond 64 bits, or too many levels; or holds something else than `kind`.
    """
    data = read_bytes(path, error=error, advice=advice)
    return parse_json(data, path, kind, allow_nan=allow_nan, error=error, advice=advice)


def parse_json(data, where, kind=dict, *, allow_nan=False, error=FileError, advice=''):
    """Returns what JSON in memory holds; see `read_json`.

    Args:
        data (bytes | str): the JSON text.
        where (str | Path): names the source in messages.
        kind (type | tuple[type, ...]): what the text must hold.
        allow_nan (bool): whether NaN, Infinity and -Infinity may be there.
        error (type[Exception]): what is raised; it is called with the message.
        advice (str): what the user should do; ends every message.
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
    return _of_kind(found, where, kind, error, advice)


def read_yaml(path, kind=dict, *, error=FileError, advice=''):
    """Returns the contents of a YAML file, which may hold plain values only.

    Args:
        path (str | Path): the file, UTF-8 with or without a byte-order mark.
        kind (type | tuple[type, ...]): what the file must hold.
        error (type[Exception]): what is raised; it is called with the message.
        advice (str): what the user should do; ends every message.

    Raises:
        error: the file cannot be read; is not YAML (the message gives line and column); asks for a Python object; has
            a key twice or too many levels; or holds something else than `kind`.
    """
    text = read_text(path, error=error, advice=advice)
    try:
        repeats = _check_events(text)
        found = yaml.load(text, Loader=_YAMLLoader)
        if repeats and _count(found, {}) > LARGEST_YAML:
            raise FileError(f'repeats its own parts to more than {LARGEST_YAML:,} values')
    except FileError as problem:
        raise error(message(path, str(problem), advice)) from problem
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        place = f' (line {mark.line + 1}, column {mark.column + 1})' if mark else ''
        raise error(message(path, f'is not valid YAML{place}', advice)) from problem
    # Constructors of dates, numbers and binary values raise whatever their parsers do.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
        raise error(message(path, 'is not valid YAML', advice)) from problem
    except MemoryError as problem:
        raise error(message(path, reason(problem), advice)) from problem
    return _of_kind(found, path, kind, error, advice)


def visible_names(folder):
    """Returns the sorted names in a folder, without those that begin with a dot; an empty list where it is missing.

    macOS leaves a file `._NAME` next to every file it copies to a foreign disk, and `.DS_Store` in every folder.

    Args:
        folder (str | Path): the folder.
    """
    return sorted(name for name in os.listdir(folder) if not is_hidden(name)) if os.path.isdir(folder) else []


def visible_paths(folder, pattern='*'):
    """Returns the sorted paths that fit a pattern, none of them hidden or in a hidden folder.

    Args:
        folder (str | Path): where to look; only what lies below it counts as hidden.
        pattern (str): as for `Path.glob`.
    """
    folder = Path(folder)
    return sorted(p for p in folder.glob(pattern) if not any(map(is_hidden, p.relative_to(folder).parts)))


def is_hidden(name):
    """Whether a file name begins with a dot, so that it is ignored wherever a folder is listed."""
    return name.startswith('.')


def is_path_below(name):
    """Whether a name read from a file is a plain path that stays below the folder it is joined to.

    It must be relative, with slashes, without '', '.' or '..' as a part, and without backslashes, colons (drive
    letters) and characters that are not printable.
    """
    parts = name.split('/')
    return name.isprintable() and not set(name) & set('\\:\ufffd') and not {'', '.', '..'} & set(parts)


def inside_root(root, name, where, *, error=FileError):
    """Joins a path that was read from a file to the folder that it must stay in.

    Symbolic links below `root` are followed: they were made by who put the folder there.

    Args:
        root (str | Path): the folder.
        name (str): the path from there.
        where (str | Path): names the file that the name is from, and where in it.
        error (type[Exception]): what is raised; it is called with the message.

    Returns:
        The joined Path.

    Raises:
        error: `name` is no text, or leads elsewhere; nothing was opened.
    """
    if not isinstance(name, str) or not is_path_below(name):
        what = f'names {str(name)[:80]!r}, expected a path below {root}, without ".." and backslashes'
        raise error(message(where, what, 'nothing was opened; get the file from its source again'))
    return Path(root) / name


def check_regular(path):
    """Refuses what is not a regular file: opening a named pipe would wait for ever.

    Args:
        path (str | Path): the file.

    Raises:
        OSError: it is missing, cannot be reached, or is a folder.
        FileError: it is a pipe, a socket or a device. The message lacks the file's name: see `reason` and `message`.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise FileError('is not a regular file, but a pipe, a socket or a device')


def reason(problem):
    """Says in plain words why a file cannot be opened or read.

    Args:
        problem (OSError | ValueError | MemoryError): what opening or reading it raised.
    """
    if isinstance(problem, FileError):
        return str(problem)
    if isinstance(problem, MemoryError):
        return 'is too large for the memory of this machine'
    if isinstance(problem, OSError):
        number = problem.errno or 0
        return _REASONS.get(number) or f'cannot be read: {os.strerror(number).lower() if number else "unknown reason"}'
    return 'cannot be a file: its name has a character that no file system allows'


def message(where, what, advice=''):
    """Joins the parts of an error message: the file, what is wrong with it, and what to do."""
    # A name with a line break or a terminal's control codes must not change how the message looks.
    name = ''.join(c if c.isprintable() else repr(c)[1:-1] for c in str(where))
    return f'{name} {what}; {advice}' if advice else f'{name} {what}'


def kind_of(value):
    """Says in plain words what kind of value JSON or YAML holds: 'a list', 'nothing'."""
    return 'nothing' if value is None else _KINDS.get(type(value), f'a {type(value).__name__}')


def decode(data, where, *, error=FileError, advice=''):
    """Returns UTF-8 bytes as text, without a byte-order mark and with `\\n` at every line's end.

    Args:
        data (bytes): the text.
        where (str | Path): names the source in messages.
        error (type[Exception]): what is raised; it is called with the message.
        advice (str): what the user should do; ends every message.
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


def _of_kind(found, where, kind, error, advice):
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(found) not in kinds:  # `type`, because True is an int
        expected = ' or '.join(_KINDS.get(k, k.__name__) for k in kinds)
        raise error(message(where, f'must hold {expected}, but holds {kind_of(found)}', advice))
    return found


def _unique(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise FileError(f'has the key {next(key for key in keys if keys.count(key) > 1)!r} twice in one object')
    return found


def _integer(digits):
    if len(digits) > _LONGEST_INTEGER and not -(2**63) <= _limited(digits) < 2**63:
        raise FileError(f'holds an integer that does not fit into 64 bits ({digits[:12]}..., {len(digits)} digits)')
    return int(digits)


def _limited(digits):
    return int(digits) if len(digits) < 40 else 2**64  # Python refuses to convert thousands of digits


def _no_constants(name):
    raise FileError(f'holds {name}, which is not a number')


_constants_allowed = {'NaN': float('nan'), 'Infinity': float('inf'), '-Infinity': float('-inf')}.__getitem__


class _YAMLLoader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):
    """PyYAML's safe loader; a key that comes twice, of which it keeps the last, is an error."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != 'tag:yaml.org,2002:merge':
                key = key_node.tag, key_node.value
                if key in seen:
                    line = key_node.start_mark.line + 1
                    raise FileError(f'has the key {key_node.value!r} twice in one mapping, again in line {line}')
                seen.add(key)
        return super().construct_mapping(node, deep)


def _check_events(text):
    """Refuses deep nesting, on which PyYAML's C parser overflows the stack. Returns whether the text has aliases."""
    depth, repeats = 0, False
    for event in yaml.parse(text, Loader=_YAMLLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            repeats = True
        elif isinstance(event, yaml.ScalarEvent) and re.fullmatch(r'[-+]?[\d_:]{40,}', event.value):
            raise FileError(f'holds an integer that does not fit into 64 bits (line {event.start_mark.line + 1})')
        if depth > DEEPEST:
            raise FileError(f'is nested more than {DEEPEST} levels deep (line {event.start_mark.line + 1})')
    return repeats


def _count(value, counted):
    """How many values a structure has when its repeated parts are written out; `counted` remembers them by identity."""
    if not isinstance(value, (dict, list, set, tuple)):
        return 1
    if id(value) not in counted:
        counted[id(value)] = None  # being counted
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_count(part, counted) for part in parts)
    if counted[id(value)] is None:
        raise FileError('refers from within a value to the value itself')
    return counted[id(value)]
