"""Mid-level features of whole recordings, computed once by G-HTT's block P, which is frozen while block A trains.

Legend: B recordings, T frames, t = 16 frames of a clip, n clips, C channels.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from handpose.models.estimators.forecaster import TwoHands
from handpose.models.estimators.ghtt_blocks import GHTTPoseBlock, PoseCode
from handpose.models.layers.two_hand_motion import TwoHandFeatures

CLIPS_AT_ONCE = 512


class MidLevelCache:
    """Keeps the mid-level features of recordings that come again in every epoch.

    A recording is known by its dataset, split, sequence and frames. One whose motion is augmented at random, or that
    does not say what it is, is encoded anew each time.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forgets all recordings, since other weights of block P give other features."""
        self._kept.clear()

    def encode(
        self, block: GHTTPoseBlock, hands: TwoHands, frame_valid: Tensor, meta: list[Mapping[str, Any]], least: float
    ) -> tuple[Tensor, Tensor]:
        """The mid-level features mu^P of the clips of recordings.

        Args:
            block: block P.
            hands: of B recordings of T frames.
            frame_valid: (B, T) bool.
            meta: of the recordings.
            least: see `encode_clips`.

        Returns:
            Features (B, n, C) and which clips are valid (B, n).
        """
        keys = [_key(entry, int(mask.sum())) for entry, mask in zip(meta, frame_valid, strict=True)]
        new = [b for b, key in enumerate(keys) if key is None or key not in self._kept]
        found: dict[int, tuple[Tensor, Tensor]] = {}
        if new:
            features, valid = encode_clips(block, hands.joints[new], hands.valid[new], frame_valid[new], least)
            for row, b in enumerate(new):
                found[b] = features[row], valid[row]
                if keys[b] is not None:
                    count = int(valid[row].nonzero().max()) + 1 if valid[row].any() else 0
                    self._kept[keys[b]] = features[row, :count].cpu(), valid[row, :count].cpu()
        device = hands.joints.device
        rows = [found[b] if b in found else self._kept[key] for b, key in enumerate(keys)]
        count = max(len(valid) for _, valid in rows)
        padded = torch.zeros(len(rows), count, block.channels, device=device)
        mask = torch.zeros(len(rows), count, dtype=torch.bool, device=device)
        for b, (features, valid) in enumerate(rows):
            padded[b, : len(valid)], mask[b, : len(valid)] = features.to(device), valid.to(device)
        return padded, mask


@torch.no_grad()
def encode_clips(
    block: GHTTPoseBlock,
    joints: Tensor,
    valid: Tensor,
    frame_valid: Tensor,
    least: float,
    encode: Callable[[TwoHandFeatures], PoseCode] | None = None,
) -> tuple[Tensor, Tensor]:
    """Cuts recordings into clips of t frames from their beginning, and encodes each.

    Args:
        block: block P.
        joints: (B, T, 2, J, 3).
        valid: (B, T, 2, J) bool.
        frame_valid: (B, T) bool, False in padding.
        least: share of a clip's frames that must show a hand; clips with fewer are not valid, so that the end of a
            recording is a clip where it is long enough.
        encode: encodes clips as the block does; None means the block itself.

    Returns:
        mu^P (B, n, C), zero where not valid, and which clips are valid (B, n).
    """
    size = block.num_frames
    count = -(-joints.shape[1] // size)
    missing = count * size - joints.shape[1]
    if missing:
        joints = torch.cat([joints, joints[:, -1:].expand(-1, missing, -1, -1, -1)], 1)
        valid = torch.cat([valid, torch.zeros_like(valid[:, :1]).expand(-1, missing, -1, -1)], 1)
        frame_valid = torch.cat([frame_valid, torch.zeros_like(frame_valid[:, :1]).expand(-1, missing)], 1)
    joints, valid = joints.unflatten(1, (count, size)), valid.unflatten(1, (count, size))
    valid = valid & frame_valid.unflatten(1, (count, size))[..., None, None]
    usable = valid.any(-1).any(-1).sum(-1) >= least * size  # (B, n)
    result = joints.new_zeros(*usable.shape, block.channels)
    chosen = usable.nonzero(as_tuple=True)
    parts = zip(joints[chosen].split(CLIPS_AT_ONCE), valid[chosen].split(CLIPS_AT_ONCE), strict=True)
    means = [(encode or block.encode)(block.motion(j, v)).latent.mean for j, v in parts if len(j)]
    if means:
        result[chosen] = torch.cat(means).to(result.dtype)
    return result, usable


def encode_input_clips(
    block: GHTTPoseBlock,
    given: TwoHands,
    truth: TwoHands,
    frame_valid: Tensor,
    true_levels: tuple[Tensor, Tensor],
    least: float,
) -> tuple[Tensor, Tensor]:
    """Encodes what an estimator saw of recordings; nothing is kept, since each epoch draws other errors.

    Args:
        block: block P.
        given: the input of B recordings of T frames.
        truth: the true motion.
        frame_valid: (B, T) bool.
        true_levels: mid-level features of `truth` and which clips are valid; of recordings without errors they are
            taken as they are.
        least: see `encode_clips`.

    Returns:
        mu^P (B, n, C) and which clips are valid (B, n), as long as `true_levels`.
    """
    levels, usable = true_levels
    differs = ((given.joints != truth.joints).any(-1) & truth.valid) | (given.valid != truth.valid)
    rows = (differs.any(-1).any(-1) & frame_valid).any(-1).nonzero()[:, 0]
    if not len(rows):
        return levels, usable
    features, valid = encode_clips(block, given.joints[rows], given.valid[rows], frame_valid[rows], least)
    count = levels.shape[1]  # clips after the last valid one may be missing
    return levels.index_copy(0, rows, features[:, :count]), usable.index_copy(0, rows, valid[:, :count])


def object_clips(features: Tensor, frame_valid: Tensor | None, size: int) -> tuple[Tensor, Tensor]:
    """Cuts the object features of frames into clips.

    Args:
        features: (B, T, E), zero in frames without.
        frame_valid: (B, T) bool; None means all.
        size: t.

    Returns:
        Features (B, n, t, E), and which frames have them (B, n, t).
    """
    valid = features.abs().sum(-1) > 0
    if frame_valid is not None:
        valid = valid & frame_valid
    missing = -features.shape[1] % size
    clips = F.pad(features, (0, 0, 0, missing)).unflatten(1, (-1, size))
    return clips, F.pad(valid, (0, missing)).unflatten(1, (-1, size))


def split_actions(
    clip_valid: Tensor, random_start: float | None, whole: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Divides actions into observed and future clips: at least one of each where there are two, unless all is observed.

    Args:
        clip_valid: (B, n) bool.
        random_start: share of the actions of which observation begins at a later clip than the action; None draws
            nothing, and the first half of each is observed.
        whole: share of the actions that are observed to their end.
        whole: share of the actions that are observed to their end.
        generator: source of the random numbers.

    Returns:
        Observed clips and future ones, (B, n) bool each.
    """
    device, count = clip_valid.device, clip_valid.shape[1]
    numbers = torch.arange(count, device=device)
    length = torch.where(clip_valid, numbers + 1, 0).amax(1)
    draws = torch.full((4, len(length)), 0.5, device=device)
    if random_start is not None:
        draws = torch.rand(draws.shape, generator=generator, device=device)
    split = 1 + (draws[0] * (length - 1).clamp_min(1)).long()  # 1 to length - 1
    split = torch.minimum(split, (length - 1).clamp_min(1))
    if random_start is not None:
        split = torch.where(draws[3] < whole, length, split)
    if random_start is not None:
        split = torch.where(draws[3] < whole, length, split)
    late = draws[1] < (random_start or 0)
    start = torch.where(late, (draws[2] * split).long(), 0)
    seen = clip_valid & (numbers >= start[:, None]) & (numbers < split[:, None])
    return seen, clip_valid & (numbers >= split[:, None])


def _key(meta: Mapping[str, Any], num_frames: int) -> Hashable:
    numbers = meta.get('frame_indices')
    if not numbers or 'sequence' not in meta or 'motion_augmentation' in meta:
        return None
    names = tuple(str(meta.get(name)) for name in ('dataset', 'split', 'sequence', 'cameras'))
    return (*names, int(numbers[0]), num_frames)
