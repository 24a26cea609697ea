"""Screenshots of the pages that commands make, by the browser that the tests use (tests/README.md)."""

import sys
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[2] / 'tests' / 'helpers'))


def screenshot(url: str, size: tuple[int, int], ready: str = 'true', frames: int = 1) -> NDArray[np.uint8]:
    """A page as (h, w, 3) uint8 RGB.

    Args:
        url: of the page.
        size: (width, height) of the window.
        ready: JavaScript expression that is true when the page has its content.
        frames: how many times the browser has drawn the page since.
    """
    from browser import open_page

    with open_page(url, size) as opened:
        opened.wait_for(ready)
        for _ in range(frames):
            opened.evaluate('new Promise(done => requestAnimationFrame(() => setTimeout(done, 300)))')
        # Without a GPU, the viewer warns of slow drawing.
        opened.evaluate("document.querySelectorAll('[class*=Notification-root]').forEach(note => note.remove())")
        return opened.screenshot()


def viewer_screenshot(viewer, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The page of a viewer that is not running yet."""
    thread = threading.Thread(target=viewer.run, daemon=True)
    thread.start()
    try:
        return screenshot(viewer.url, size, "document.querySelector('canvas') != null", frames=15)
    finally:
        viewer.stop()
        thread.join()
