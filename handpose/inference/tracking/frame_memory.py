"""`FrameMemory`: what a video estimator remembers of the last frames of a track, and the window that it decodes."""

import torch
from torch import Tensor

from handpose.models import EncodedFrames, Reads

EXACT = 0.25  # frames by which a counted frame may be off: none
_ROUNDING = 1e-6


class FrameMemory:
    """The encoded frames of a track from which the newest one is predicted.

    Positions are frames of the estimator. One that states its frame rate counts time: position = seconds x rate, and
    the nearest frame within half a `frame_step` stands for each position of the window. Any other counts images.

    Args:
        reads: of the estimator; with `num_frames`.
    """

    def __init__(self, reads: Reads) -> None:
        self.num_frames, self.step = window_length(reads), reads.frame_step
        self._tolerance = EXACT if reads.frame_rate is None else self.step / 2 - _ROUNDING
        self._positions: list[float] = []
        self._frames: list[EncodedFrames] = []

    def add(self, position: float, encoded: EncodedFrames) -> None:
        """Remembers a frame, and forgets those that no window reaches any more.

        Args:
            position: later than those before.
            encoded: of this frame alone.
        """
        self._positions.append(position)
        self._frames.append(encoded)
        self.forget(position)

    def forget(self, position: float) -> None:
        """Forgets frames that the window of the frame at `position` does not reach."""
        while self._positions and self._positions[0] < position - memory_length(self.num_frames, self.step):
            del self._positions[0], self._frames[0]

    def __len__(self) -> int:
        return len(self._positions)

    def window(self) -> tuple[EncodedFrames, Tensor]:
        """Selects the window that ends with the newest frame.

        It is a piece of the track that begins with the first frame that is there, as an estimator gets it: positions
        between those of the window are not valid.

        Returns:
            The frames (T, ...), the newest one last, and which of them are valid, (T,) bool.
        """
        times = torch.tensor(self._positions, dtype=torch.float64)
        wanted = times[-1] - self.step * torch.arange(self.num_frames - 1, -1, -1)
        distance, nearest = (wanted[:, None] - times).abs().min(1)
        found = distance <= self._tolerance
        first = int(found.nonzero()[0])
        found, nearest = found[first:], nearest[first:]
        length = (len(found) - 1) * self.step + 1
        index, valid = torch.full((length,), len(times) - 1), torch.zeros(length, dtype=torch.bool)
        index[:: self.step], valid[:: self.step] = torch.where(found, nearest, len(times) - 1), found
        encoded = EncodedFrames.cat(self._frames)
        return encoded.select(index.to(encoded.features.device)), valid


def memory_length(num_frames: int, frame_step: int) -> float:
    """Frames before the newest one that its window may reach."""
    return (num_frames - 1) * frame_step + frame_step / 2


def window_length(reads: Reads) -> int:
    """Frames in a window.

    Raises:
        ValueError: the estimator states none.
    """
    if reads.num_frames is None:
        raise ValueError('an estimator of videos must state the length of its window: reads.num_frames is None')
    return reads.num_frames
