"""Where a file of the model zoo comes from, as the index states it."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from handpose.files.reading import is_path_below
from handpose.zoo.errors import ZooError

LOOPBACK = ('127.0.0.1', '::1', 'localhost')
SCHEMES = {
    'package:': 'package:PATH, from the folder of the index',
    'https://': 'https://HOST/PATH',
    'hf://': 'hf://OWNER/REPOSITORY@REVISION/PATH',
    'pypi:': 'pypi:NAME==VERSION#PATH/IN/WHEEL',
}
_REQUIREMENT = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*')
_HUB = re.compile(r'hf://([\w.-]+/[\w.-]+)@([\w.-]+)/(.+)')


@dataclass(frozen=True)
class PackageFile:
    """A file that ships with the package.

    Attributes:
        path: from the folder of the index.
    """

    path: str


@dataclass(frozen=True)
class WebFile:
    """A file on a web server.

    Attributes:
        url: see `check_url`.
    """

    url: str


@dataclass(frozen=True)
class HubFile:
    """A file of a model repository of the Hugging Face Hub.

    Attributes:
        repository: 'owner/name'.
        revision: branch, tag or commit.
        path: in the repository.
    """

    repository: str
    revision: str
    path: str


@dataclass(frozen=True)
class WheelMember:
    """A file in the wheel of a package that pip can download.

    Attributes:
        requirement: 'name==version'.
        member: path in the wheel.
    """

    requirement: str
    member: str


Source = PackageFile | WebFile | HubFile | WheelMember


def parse_source(text: str) -> Source:
    """Reads a source of the index.

    Args:
        text: such as 'pypi:mediapipe==0.10.21#path/in/wheel'; see `SCHEMES`.

    Returns:
        The source.

    Raises:
        ZooError: an unknown scheme, or a source that is not written as its scheme needs.
    """
    found: Source | None = None
    if text.startswith('package:'):
        path = text.removeprefix('package:')
        found = PackageFile(path) if is_path_below(path) else None
    elif text.startswith(('https://', 'http://')):
        check_url(text)
        found = WebFile(text)
    elif text.startswith('hf://'):
        match = _HUB.fullmatch(text)
        found = HubFile(match[1], match[2], match[3]) if match and is_path_below(match[3]) else None
    elif text.startswith('pypi:'):
        requirement, _, member = text.removeprefix('pypi:').partition('#')
        if _REQUIREMENT.fullmatch(requirement) and is_path_below(member):
            found = WheelMember(requirement, member)
    else:
        raise ZooError(f'{text!r} has an unknown scheme, expected one of: {", ".join(SCHEMES.values())}')
    if found is None:
        scheme = next(scheme for scheme in SCHEMES if text.startswith(scheme))
        raise ZooError(f'{text!r} must be written as {SCHEMES[scheme]}')
    return found


def check_url(url: str) -> None:
    """Refuses URLs that are not encrypted, except those of this machine, and URLs with a password.

    Args:
        url: the URL.

    Raises:
        ZooError: it is not https, nor http to this machine.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise ZooError(f'{url[:200]!r} is no URL') from None
    if not host or '@' in parts.netloc:
        raise ZooError(f'{url[:200]!r} must be written as {SCHEMES["https://"]}, without a user name')
    if parts.scheme != 'https' and not (parts.scheme == 'http' and host in LOOPBACK):
        raise ZooError(f'{url[:200]!r} is not encrypted: it must begin with https://')


def describe(source: Source) -> str:
    """Names a source in messages and cards.

    Args:
        source: the source.

    Returns:
        Text such as 'the wheel of mediapipe==0.10.21'.
    """
    if isinstance(source, PackageFile):
        return f'handpose/zoo/{source.path}, which ships with the package'
    if isinstance(source, WebFile):
        return source.url
    if isinstance(source, HubFile):
        return f'hf://{source.repository}@{source.revision}/{source.path}'
    return f'{source.member} in the wheel of {source.requirement}'
