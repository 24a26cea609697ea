"""A web server on 127.0.0.1 with the faults of real ones, and a stand-in index of the model zoo."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

from handpose.zoo.index import read_index

TEXTS = ('title', 'summary', 'preprocessing', 'output', 'units', 'joint_order', 'frame_rate', 'limitations', 'citation')


class FileServer:
    """Answers with what `answers` has for a path, and keeps the requests."""

    def __init__(self, address, scheme):
        self.url = f'{scheme}://{address[0]}:{address[1]}'
        self.answers = {}
        self.requests = []  # (path, value of the header Range)
        self.released = threading.Event()  # ends everything that hangs


@contextmanager
def serve(tls=None):
    """A running `FileServer`; with an `ssl.SSLContext` it speaks https."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            files.requests.append((self.path, self.headers.get('Range')))
            answers = files.answers[self.path]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            answer(self, files)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    files = FileServer(server.server_address, 'https' if tls else 'http')
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield files
    files.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def head(handler, status=200, **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace('_', '-'), str(value))
    handler.end_headers()


def good(data, send=None, then_hang=False, ranges=True, length=True, kind='application/octet-stream'):
    """Sends `data` from where it is asked to; only the first `send` bytes of that, if given, and then hangs or ends."""

    def answer(handler, files):
        wish = handler.headers.get('Range') if ranges else None
        start = int(wish.removeprefix('bytes=').rstrip('-')) if wish else 0
        headers = {'Content_Type': kind}
        if length:
            headers['Content_Length'] = len(data) - start
        if wish:
            headers['Content_Range'] = f'bytes {start}-{len(data) - 1}/{len(data)}'
        head(handler, 206 if wish else 200, **headers)
        handler.wfile.write(data[start:] if send is None else data[start : start + send])
        if then_hang:
            handler.wfile.flush()
            files.released.wait()

    return answer


def status(code, **headers):
    return lambda handler, files: head(handler, code, Content_Length=0, **headers)


def hang(handler, files):
    files.released.wait()


def make_entry(data, sources, **values):
    """An entry of an index for a file that holds `data`."""
    return {
        **{name: f'the {name}' for name in TEXTS},
        'kind': 'network',
        'file': 'net.tflite',
        'size': len(data),
        'sha256': hashlib.sha256(data).hexdigest(),
        'sources': sources,
        'licence': 'Apache-2.0',
        'commercial_use': True,
        **values,
    }


def write_index(folder, **entries):
    """An index file with entries from `make_entry`, read."""
    path = folder / 'index.yml'
    path.write_text(yaml.safe_dump({'format': 1, 'entries': entries}, sort_keys=False))
    return read_index(path)
