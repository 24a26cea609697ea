"""A real browser for tests: headless Chromium, driven by the DevTools protocol."""

import base64
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
# WebGL on the CPU; no sandbox, because tests in containers run as root.
OPTIONS = (
    *('--headless=new', '--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'),
    *('--ignore-gpu-blocklist', '--no-first-run', '--disable-extensions', '--disable-background-networking'),
    *('--autoplay-policy=no-user-gesture-required', '--remote-debugging-port=0', '--disable-dev-shm-usage'),
)


def find_browser():
    """The path of a Chromium, or the test is skipped."""
    pytest.importorskip('websockets', reason="needs websockets, which the extra 'view' brings")
    found = [path for path in map(shutil.which, NAMES) if path]
    if not found:
        pytest.skip(f'needs a browser: none of {", ".join(NAMES)} is installed (tests/README.md)')
    return found[0]


@contextmanager
def open_page(url, size=(1280, 800)):
    """Opens a page; yields a `Page`."""
    from websockets.sync.client import connect

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [find_browser(), *OPTIONS, f'--window-size={size[0]},{size[1]}', f'--user-data-dir={profile}', url]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            lines = (re.search(r'DevTools listening on ws://([^/]+)/', line) for line in process.stderr)
            address = next(found[1] for found in lines if found)
            with urllib.request.urlopen(f'http://{address}/json') as answer:
                tab = next(target for target in json.load(answer) if target['type'] == 'page')
            with connect(tab['webSocketDebuggerUrl'], max_size=None) as socket:
                page = Page(socket)
                page.wait_for(f"location.href.startsWith({json.dumps(url)}) && document.readyState == 'complete'")
                yield page
        finally:
            process.terminate()
            process.wait(20)
            process.stderr.close()


class PageError(Exception):
    """What the browser refused, or a script that failed."""


class Page:
    """A page of the browser."""

    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)

    def call(self, method, **parameters):
        """Sends a command of the DevTools protocol and returns its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps(dict(id=number, method=method, params=parameters)))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get('id') == number:
                if 'error' in answer:
                    raise PageError(answer['error'])
                return answer['result']

    def evaluate(self, expression):
        """The value of a JavaScript expression; promises are awaited."""
        result = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in result:
            raise PageError(result['exceptionDetails'])
        return result['result'].get('value')

    def wait_for(self, expression, seconds=60):
        """Waits until a JavaScript expression is true; it may fail while the page is loaded."""
        end, failure = time.monotonic() + seconds, None
        while time.monotonic() < end:
            try:
                if self.evaluate(expression):
                    return
            except PageError as error:
                failure = error
            time.sleep(0.1)
        raise PageError(f'not true after {seconds} s: {expression}') from failure

    def screenshot(self):
        """The page as (h, w, 3) uint8 RGB."""
        data = base64.b64decode(self.call('Page.captureScreenshot', format='png')['data'])
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def press(self, key, code):
        """Presses a key, such as ('ArrowRight', 39)."""
        for kind in ('keyDown', 'keyUp'):
            self.call('Input.dispatchKeyEvent', type=kind, key=key, code=key, windowsVirtualKeyCode=code)
