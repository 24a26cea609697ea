"""The running action below the frames of a video."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from handpose.models.estimators.running_action import RunningAction
from handpose.visualization.draw import BACKGROUND, Color, write_text

RIGHT, WRONG, NEUTRAL = (90, 215, 120), (255, 120, 100), (255, 255, 255)
_FAINT, _TROUGH = (170, 175, 185), (52, 56, 64)
_SHOWN = 3  # actions with a bar
_BARS_START = 0.56  # share of the width where the bars begin


class ActionBanner:
    """A dark strip: the action recognized so far with its score, that of the whole video, the truth, and the progress.

    Args:
        names: of the A actions.
        running: `RunningAction`, what the model said after some frames.
        whole: (A,) scores of the whole video, or None.
        truth: the true action as an index into `names`, -1 unknown.
        num_frames: T of the video.
        width: pixels.
        min_score: an action with a lower score is marked uncertain.
    """

    def __init__(
        self,
        names: Sequence[str],
        running: RunningAction,
        whole: np.ndarray | Tensor | None,
        truth: int,
        num_frames: int,
        width: int,
        min_score: float = 0.0,
    ) -> None:
        self.names = [str(name).replace('_', ' ') for name in names]
        self.frames, self.scores = np.asarray(running.frames), np.asarray(running.scores, float)
        if self.scores.shape != (len(self.frames), len(self.names)) or not len(self.frames):
            raise ValueError(
                f'ActionBanner needs a score of each of the {len(self.names)} actions at {len(self.frames)} moments, '
                f'got {self.scores.shape}'
            )
        self.whole, self.truth = None if whole is None else int(np.asarray(whole).argmax()), truth
        self.num_frames, self.width, self.min_score = num_frames, width, min_score
        self.whole_score = 0.0 if whole is None else float(np.asarray(whole).max())
        self.height = int(np.clip(width / 9, 76, 150))

    def draw(self, t: int) -> np.ndarray:
        """The strip (height, width, 3) of frame t: what was last said up to it."""
        image = np.full((self.height, self.width, 3), BACKGROUND, np.uint8)
        letters = round(self.height * 0.13)
        bars_left = round(self.width * _BARS_START)
        now = int(np.searchsorted(self.frames, t, side='right')) - 1
        self._draw_text(image, now, letters, bars_left)
        if now >= 0:
            self._draw_bars(image, self.scores[now], letters, bars_left)
        done = round(self.width * (t + 1) / self.num_frames)
        image[-4:] = _TROUGH
        image[-4:, :done] = _FAINT
        return image

    def _draw_text(self, image: np.ndarray, now: int, letters: int, max_width: int) -> None:
        best = None if now < 0 else int(self.scores[now].argmax())
        words = '...' if best is None else f'{self._named(best, self.scores[now, best])}  {self.scores[now, best]:.2f}'
        x, step = letters, self.height / 3
        write_text(image, 'so far', (x, round(0.62 * step)), round(letters * 0.8), max_width - 2 * x, _FAINT)
        write_text(image, words, (x, round(1.5 * step)), round(letters * 1.6), max_width - 2 * x, self._color(best))
        rest = [] if self.whole is None else [f'whole video: {self._named(self.whole, self.whole_score)}']
        rest += [] if self.truth < 0 else [f'true: {self.names[self.truth]}']
        write_text(
            image, '   '.join(rest), (x, round(2.45 * step)), letters, max_width - 2 * x, self._color(self.whole)
        )

    def _draw_bars(self, image: np.ndarray, scores: np.ndarray, letters: int, left: int) -> None:
        best = np.argsort(-scores, kind='stable')[:_SHOWN]
        step, words = self.height / (_SHOWN + 0.6), round(0.2 * self.width)
        full = self.width - left - words - letters
        for row, action in enumerate(best.tolist()):
            base = round((row + 0.9) * step)
            write_text(image, self.names[action], (left, base), letters, words - 8, self._color(action, NEUTRAL))
            line = slice(base - letters, base)
            image[line, left + words : left + words + full] = _TROUGH
            image[line, left + words : left + words + round(full * float(scores[action]))] = self._color(action, _FAINT)

    def _named(self, action: int, score: float) -> str:
        return self.names[action] if score >= self.min_score else f'uncertain ({self.names[action]})'

    def _color(self, action: int | None, other: Color | None = None) -> Color:
        """Green for the true action, red for another one; `other` for one that is only listed or cannot be judged."""
        if self.truth < 0 or action is None:
            return other or NEUTRAL
        return RIGHT if action == self.truth else other or WRONG
