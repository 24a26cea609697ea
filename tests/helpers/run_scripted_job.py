"""Jobs with scripted hands that other processes run; as a program: VIDEO OUT.npz, which waits after 250 images."""

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


def run_with(estimator, job, progress):
    session = session_of(two_hands)
    session.tracking_estimator = estimator
    return run_job(job, progress, session)


def run_slowly(job, progress):
    return run_with(SlowEstimator(two_hands), job, progress)


def run_or_die(job, progress):
    """Ends its process, as the system does when memory runs out, if the video is called so."""
    if Path(job.source).stem == 'deadly':
        os._exit(9)
    return run_slowly(job, progress)


class WaitingEstimator(ScriptedEstimator):
    images = 0

    def estimate(self, frame, regions):
        self.images += 1
        if self.images == 250:  # until it is ended
            time.sleep(600)
        return super().estimate(frame, regions)


if __name__ == '__main__':
    try:
        run_with(WaitingEstimator(two_hands), VideoJob(sys.argv[1], Path(sys.argv[2])), None)
    except KeyboardInterrupt as interrupt:
        sys.exit(f'interrupted; {interrupt}')
