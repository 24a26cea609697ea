"""Long check: frames of whole real videos in which the hand is found, images per second, and memory.

    HANDPOSE_REAL_DATA=FOLDER python tests/inference/whole_videos.py

It ends with exit code 1 if fewer frames than expected have a hand. The official pipeline (mediapipe 0.10.21) finds the
hand in 621 of 621 frames of the first video, 360 of 378 of the second and 378 of 378 of the third.
"""

import os
import resource
import sys
import time
from pathlib import Path

from handpose.inference.video_hands import find_hands

EXPECTED = {
    'hand_video/human_hand_video.mp4': 615,
    'stereo_hand_video/media/cam0_test.mp4': 355,
    'stereo_hand_video/media/cam1_test.mp4': 355,
}


def main():
    root, failed = Path(os.environ['HANDPOSE_REAL_DATA']), False
    for name, expected in EXPECTED.items():
        start = time.perf_counter()
        found = find_hands(root / name)
        seconds = time.perf_counter() - start
        valid = found.predictions.valid
        count = int(valid.any(1).sum())
        failed |= count < expected
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f'{name}: {count} of {len(valid)} frames (at least {expected} expected), {len(valid) / seconds:.1f} per '
            f'second, {memory:.0f} MiB at most so far; {"; ".join(found.notes) or "no notes"}'
        )
    sys.exit(failed)


if __name__ == '__main__':
    main()
