"""`PlayerPage`: a page for browsers with a slider that plays frames at their times (viser)."""

import contextlib
import io
import threading
import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import viser
from numpy.typing import NDArray

_POLL = 0.25  # seconds after which a stopped viewer is noticed


class PlayerPage(ABC):
    """Serves a page, plays frames at their true times, and shows a frame when something has changed.

    A subclass builds its panel, calls `add_player` where the slider belongs, and shows the first frame.

    Args:
        timestamps: (T,) seconds of the frames, increasing.
        title: of the page's panel.
        host: address that the page is served on.
        port: preferred port; if it is taken, one of the next ones is used.

    Attributes:
        url: of the page.
        frame: the one that is shown; -1 before the first.
    """

    def __init__(self, timestamps: NDArray[np.float64], title: str, host: str, port: int) -> None:
        self._times = timestamps - timestamps[0]
        self.frame = -1
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its addresses
            self._server = viser.ViserServer(host, port, title, verbose=False)
        self.url = f'http://{"localhost" if host == "0.0.0.0" else host}:{self._server.get_port()}'
        self._changed, self._stopped = threading.Event(), threading.Event()
        self._playing_since: float | None = None  # when the first frame would have been shown
        self._server.gui.configure_theme(
            control_width='large', dark_mode=True, show_logo=False, show_share_button=False
        )
        self._server.gui.main_panel.dock_right()

    def add_player(self) -> None:
        """Adds the slider, the button that plays, and the speed to the panel."""
        gui, frames = self._server.gui, len(self._times)
        # Any: viser defines the setter of `value` apart from the property, which mypy takes for read-only.
        self._slider: Any = gui.add_slider('frame', 0, max(1, frames - 1), 1, 0, disabled=frames == 1)
        self._play = gui.add_button('play')
        self._speed = gui.add_slider('speed', 0.1, 2.0, 0.1, 1.0, hint='1 is the speed of the video')
        self._slider.on_update(self._on_slider)
        self._speed.on_update(lambda _: self._restart_clock())
        self._play.on_click(lambda _: self._on_play())

    def run(self) -> None:
        """Serves the page until `stop` is called."""
        while not self._stopped.is_set():
            self._changed.wait(self._step_playback())
            if self._changed.is_set():
                self._changed.clear()
                self._show(int(self._slider.value))

    def stop(self) -> None:
        """Ends `run` and the page; from any thread."""
        self._stopped.set()
        self._changed.set()
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()

    @abstractmethod
    def _show(self, t: int) -> None:
        """Shows a frame and sets `frame`; `t` may be beyond the last one, which is then shown."""

    def _on_slider(self, event: viser.GuiEvent) -> None:
        if event.client_id is not None:  # moved by a person, not by playing
            self._restart_clock()
            self._changed.set()

    def _on_play(self) -> None:
        if self._playing_since is not None:
            self._pause()
            return
        if self._slider.value == len(self._times) - 1:
            self._slider.value = 0
        self._play.label = 'pause'
        self._playing_since = time.perf_counter()
        self._restart_clock()
        self._changed.set()

    def _pause(self) -> None:
        self._playing_since, self._play.label = None, 'play'

    def _restart_clock(self) -> None:
        """Playing goes on from the frame that is shown."""
        if self._playing_since is not None:
            self._playing_since = time.perf_counter() - self._times[int(self._slider.value)] / self._speed.value

    def _step_playback(self) -> float:
        """Shows the frame whose time has come; returns the seconds until the next one."""
        since, speed = self._playing_since, self._speed.value
        if since is None:
            return _POLL
        now = (time.perf_counter() - since) * speed
        t = int(np.searchsorted(self._times, now, side='right')) - 1
        if t != self.frame:
            self._slider.value = t
            self._show(t)
        if t == len(self._times) - 1:
            self._pause()
            return _POLL
        remaining = self._times[t + 1] / speed - (time.perf_counter() - since)
        return float(np.clip(remaining, 0, _POLL))
