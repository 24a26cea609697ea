"""Jobs with scripted hands that other processes run; as a program: VIDEO OUT.npz [seconds that each image takes]."""

import os
import sys
import time
from pathlib import Path

from scripted_hands import ScriptedEstimator, session_of, two_hands

from handpose.inference.video_job import VideoJob, run_job


class SlowEstimator(ScriptedEstimator):
    seconds = 0.01  # for each image

    def estimate(self, frame, regions):
        time.sleep(self.seconds)
        return super().estimate(frame, regions)


def run_slowly(job, progress):
    session = session_of(two_hands)
    session.tracking_estimator = SlowEstimator(two_hands)
    return run_job(job, progress, session)


def run_or_die(job, progress):
    """Ends its process, as the system does when memory runs out, if the video is called so."""
    if Path(job.source).stem == 'deadly':
        os._exit(9)
    return run_slowly(job, progress)


if __name__ == '__main__':
    SlowEstimator.seconds = float(sys.argv[3])
    try:
        run_slowly(VideoJob(sys.argv[1], Path(sys.argv[2])), None)
    except KeyboardInterrupt as interrupt:
        sys.exit(f'interrupted; {interrupt}')
