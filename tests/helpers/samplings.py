"""Short names of samplings, for tests of readers."""

from handpose.datasets import ClipSampling


def centred(num_frames=1, frame_step=1, clip_step=1, across_gaps=False):
    """Clips around annotated frames, as DexYCB's and HO3D's configs read them."""
    return ClipSampling(num_frames, frame_step, clip_step, centred=True, across_gaps=across_gaps)
