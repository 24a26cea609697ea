"""Downloads over https that continue where they stopped."""

import hashlib
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import handpose
from handpose.zoo.cache import BLOCK, wrong_hash
from handpose.zoo.errors import SourceError
from handpose.zoo.index import ZooEntry
from handpose.zoo.sources import LOOPBACK, check_url

Report = Callable[[str, int, int | None], None]
"""Called with what is being downloaded, the bytes that have arrived, and the bytes in all (None: unknown)."""
# Answers of a server that may be another one later.
RETRIED = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class DownloadOptions:
    """How long a download waits and how often it tries.

    Attributes:
        timeout: seconds without a byte after which a connection counts as broken.
        attempts: connections that are tried.
        backoff: seconds before the second attempt; doubled before each later one.
    """

    timeout: float = 20.0
    attempts: int = 5
    backoff: float = 1.0


class _RetryableError(Exception):
    """The connection broke, or the server is busy: worth another attempt."""


def download(url: str, entry: ZooEntry, partial: Path, options: DownloadOptions, report: Report) -> None:
    """Downloads a file, and continues what an interrupted download has left.

    Args:
        url: https, or http to this machine.
        entry: what the file must hold.
        partial: the unfinished file. It is complete and verified afterwards; it stays, to be continued, where the
            connection breaks; it is deleted if it holds other bytes or the disk is full.
        options: timeouts and attempts.
        report: called with the progress.

    Raises:
        SourceError: the server does not give the file.
        OSError: the file cannot be written.
    """
    problem = ''
    for attempt in range(options.attempts):
        if attempt:
            time.sleep(options.backoff * 2 ** (attempt - 1))
        try:
            resumed, digest = _transfer(url, entry, partial, options.timeout, report)
        except _RetryableError as error:
            problem = str(error)
            continue
        except (SourceError, OSError):
            partial.unlink(missing_ok=True)
            raise
        if digest == entry.sha256:
            return
        partial.unlink()
        problem = wrong_hash(digest, entry)
        if not resumed:
            break
        # What was there before may belong to another version of the file: once more, from the beginning.
    raise SourceError(f'{url} {problem}')


def _transfer(url: str, entry: ZooEntry, partial: Path, timeout: float, report: Report) -> tuple[bool, str]:
    """One connection. Returns whether it continued a file, and the sha256 of the whole."""
    digest, start = _read_partial(partial, entry)
    if start == entry.size:
        return True, digest.hexdigest()
    resumed = start > 0
    with _answer(url, start, timeout) as response:
        if resumed and not _continues(response, start):
            digest, start, resumed = hashlib.sha256(), 0, False
        _check_answer(response, url, entry, start)
        with open(partial, 'ab' if resumed else 'wb') as file:
            for block in _blocks(response, url):
                start += len(block)
                if start > entry.size:
                    raise SourceError(f'{url} sends more than the {entry.size:,} bytes expected')
                digest.update(block)
                file.write(block)
                report(entry.name, start, entry.size)
    if start < entry.size:
        raise _RetryableError(f'ended after {start:,} of {entry.size:,} bytes')
    return resumed, digest.hexdigest()


def _read_partial(partial: Path, entry: ZooEntry) -> tuple[Any, int]:
    """The digest and the length of what an earlier download has left; what cannot be its beginning is deleted."""
    digest = hashlib.sha256()
    if not partial.is_file():
        return digest, 0
    size = partial.stat().st_size
    if size > entry.size:
        partial.unlink()
        return digest, 0
    with open(partial, 'rb') as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest, size


@contextmanager
def _answer(url: str, start: int, timeout: float) -> Iterator[HTTPResponse]:
    """The server's answer to a request for the file from byte `start`."""
    headers = {'User-Agent': f'handpose/{handpose.__version__}', 'Accept-Encoding': 'identity'}
    if start:
        headers['Range'] = f'bytes={start}-'
    request = urllib.request.Request(url, headers=headers)
    handlers: list[urllib.request.BaseHandler] = [_SafeRedirects()]
    if urlsplit(url).hostname in LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine
    with _network_errors(url):
        response = urllib.request.build_opener(*handlers).open(request, timeout=timeout)
    with response:
        yield response


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to URLs that the index itself may name."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        try:
            check_url(newurl)
        except ValueError as error:
            raise SourceError(f'{req.full_url} redirects elsewhere: {error}') from None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    """Sorts errors of the network into those that another attempt may overcome, and the others."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        status = f'{error.code} ({" ".join(str(error.reason).split())})'
        if error.code in RETRIED:
            raise _RetryableError(f'answers {status}') from error
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise SourceError(f'{url} has fewer bytes than expected') from error
        raise SourceError(f'{url} answers {status}') from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            problem = f'has a certificate that cannot be verified ({error.reason.verify_message})'
            raise SourceError(f'{url} {problem}') from error
        raise _RetryableError(_reason(error.reason)) from error
    except (http.client.HTTPException, OSError) as error:
        raise _RetryableError(_reason(error)) from error


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return 'does not answer in time'
    return f'cannot be reached ({error})'


def _blocks(response: HTTPResponse, url: str) -> Iterator[bytes]:
    while True:
        with _network_errors(url):
            block = response.read1(BLOCK)
        if not block:
            return
        yield block


def _continues(response: HTTPResponse, start: int) -> bool:
    """Whether the server sends what follows byte `start`; servers may also ignore the wish and send the whole."""
    given = re.match(r'bytes (\d+)-', response.headers.get('Content-Range', ''))
    return response.status == http.client.PARTIAL_CONTENT and given is not None and int(given[1]) == start


def _check_answer(response: HTTPResponse, url: str, entry: ZooEntry, start: int) -> None:
    """Refuses what is not the file, before anything of it is written."""
    length = response.headers.get('Content-Length', '')
    if response.headers.get_content_type() in ('text/html', 'application/xhtml+xml'):
        raise SourceError(f'{url} sends a web page instead of the file, as a login or an error page')
    if length.isdigit() and start + int(length) != entry.size:
        raise SourceError(f'{url} has {start + int(length):,} bytes, expected {entry.size:,}')
