"""Long check: errors and bone lengths of a whole real recording by two cameras, also with simulated faults.

    HANDPOSE_REAL_DATA=FOLDER python tests/inference/annotation/whole_recording.py [KEEP.npz]

KEEP.npz keeps the detections, so that the next run need not compute them. It ends with exit code 1 if fewer than 95 %
of the frames have a hand, or if over these frames the median reprojection error is above 2.0 px or the bone-length
spread (standard deviation over mean of each bone's length, mean of the 20 bones) above 4 %; or if a fifth of lost
detections and 5 % of wrong sides raise the reprojection error to more than 1.3 times.
"""

import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / 'helpers'))
from stereo_video import stereo_calibration, stereo_records
from view_detections import with_faults

from handpose.inference.annotation.consistency import check_consistency
from handpose.inference.annotation.matching import match_hands
from handpose.inference.annotation.reconstruction import ReconstructionOptions, reconstruct
from handpose.inference.annotation.view_hands import ViewHands
from handpose.inference.session import Session


def figures(name, result):
    """Prints and returns median error (px), bone-length spread, and share of frames with a hand."""
    error, spread = np.nanmedian(result.residuals), result.bone_length_spread().mean()
    frames = result.valid.any(-1).all(-1)
    by_frame = result.frame_errors()[frames]
    print(
        f'{name}: {frames.sum()} of {len(frames)} frames, {result.valid[frames].mean():.1%} of their joints; '
        f'reprojection error {error:.2f} px (median), at most 2 px in {(by_frame <= 2).mean():.0%} of the frames; '
        f'bone-length spread {spread:.1%}; {"; ".join(result.notes) or "no notes"}'
    )
    return error, spread, frames.mean()


def main():
    folder = Path(os.environ['HANDPOSE_REAL_DATA']) / 'stereo_hand_video'
    kept = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if kept is not None and kept.exists():
        hands = ViewHands.load(kept)
    else:
        hands = ViewHands.from_track_records(stereo_records(folder, Session()))
        if kept is not None:
            hands.save(kept)
    calibration = stereo_calibration(folder)
    check = check_consistency(hands, calibration)
    print(
        f'camera errors {check.camera_errors.round(2)} px, time offsets {check.time_offsets.round(2)}', check.messages
    )
    matched = match_hands(hands, calibration)
    figures('triangulated', reconstruct(matched, calibration, options=ReconstructionOptions(hold_bone_lengths=False)))
    clean = reconstruct(matched, calibration)
    error, spread, frames = figures('bone lengths held', clean)
    failed = error > 2.0 or spread > 0.04 or frames < 0.95
    for seed in range(3):
        faulty, _ = with_faults(hands, np.zeros(hands.valid.shape, int), seed=seed)
        found = reconstruct(match_hands(faulty, calibration), calibration)
        with_losses, _, _ = figures(f'faults {seed}', found)
        moved = np.linalg.norm(found.joints_3d - clean.joints_3d, axis=-1)[found.valid & clean.valid]
        print(f'  {with_losses / error:.2f} times the error; joints move by {1000 * np.median(moved):.2f} mm (median)')
        failed |= with_losses > 1.3 * error
    sys.exit(bool(failed))


if __name__ == '__main__':
    main()
