"""A job with scripted hands as a program that tests can kill: VIDEO OUT.npz [seconds that each image takes]."""

import sys
import time
from pathlib import Path

from scripted_hands import ScriptedEstimator, session_of, two_hands

from handpose.inference.video_job import VideoJob, run_job


class SlowEstimator(ScriptedEstimator):
    seconds = 0.0

    def estimate(self, frame, regions):
        time.sleep(self.seconds)
        return super().estimate(frame, regions)


if __name__ == '__main__':
    SlowEstimator.seconds = float(sys.argv[3])
    session = session_of(two_hands)
    session.tracking_estimator = SlowEstimator(two_hands)
    try:
        run_job(VideoJob(sys.argv[1], Path(sys.argv[2])), session=session)
    except KeyboardInterrupt as interrupt:
        sys.exit(f'interrupted; {interrupt}')
