"""Small untrained video estimators as published weights, and hands that are tracked where labels say they are."""

import numpy as np
import torch
from action_clips import model_config
from mmengine.config import Config

from handpose.engine import load_config
from handpose.hands.sides import Side
from handpose.inference.tracking.interfaces import EstimatorInfo, HandEstimate, HandRegion
from handpose.inference.tracking.tracker import next_region
from handpose.registry import DATASETS, MODELS
from handpose.video import VideoFrame
from handpose.zoo.publish import make_header, publish

RATE = 30.0  # of the built-in data
WHOLE = (48, 48)  # what the small HTT sees
SMALL = {
    'model.backbone.base_channels': 8,
    'model.head.hidden_channels': (64, 32),
    'model.roi_size': 4,
    'image_size': 48,
}


def published_deformer(folder, **options):
    """A Deformer that sees hands of 48 pixels, in windows of 3 frames; returns it and its file."""
    torch.manual_seed(5)
    config = load_config('deformer/synthetic', {**SMALL, **options})
    return _published(MODELS.build(config.model), config, folder / 'deformer.safetensors')


def published_htt(folder, hands=2, **options):
    """An HTT of windows of 8 frames that are 2 apart, at 30 per second; returns it and its file."""
    torch.manual_seed(6)
    model = model_config(hands=hands, **options)
    model['pose_head']['image_size'] = WHOLE
    pipeline = [dict(type='LoadImages'), dict(type='ResizeFrames', size=WHOLE)]
    estimator = MODELS.build(model)
    torch.nn.init.normal_(estimator.pose_head.mlp[-1].weight, std=0.01)
    depth = estimator.pose_head.mlp[-1].bias.data.view(hands, 21, 3)[..., 2]
    depth += 0.5 / estimator.pose_head.depth_scale  # in front of the camera
    config = folder / 'htt.py'
    config.write_text(f'model = {model!r}\ntest_pipeline = {pipeline!r}\n')
    return _published(estimator, Config.fromfile(config), folder / 'htt.safetensors')


def _published(estimator, config, path):
    file, _ = publish(estimator, make_header(estimator, config, 'CC0'), path)
    return estimator.eval(), file


def tracks(root, pipeline):
    """The whole tracks of the built-in data in a folder, in DexYCB's layout, through a pipeline."""
    return DATASETS.build(dict(type='DexYCB', data_root=str(root), setup='all', split='test', pipeline=pipeline))


def frames_of(sample, rate=RATE):
    """The images of a track as frames of a video."""
    images = sample.images[:, 0].permute(0, 2, 3, 1).numpy()
    return [VideoFrame(t, t / rate, np.ascontiguousarray(image)) for t, image in enumerate(images)]


def region(sample, frame, track_id=0, side=None):
    """Where the labels have the hand of a track, as `Session` gives it to an estimator."""
    points = sample.joints_2d[frame, 0, 0].numpy()
    side = Side(int(sample.hand_side[0])) if side is None else side
    return next_region(points, track_id)._replace(side=side, joints_2d=points)


class ScriptedTracking:
    """A detector and a tracking estimator that know where one hand is: `points` (T, 21, 2), `times` (T,)."""

    info = EstimatorInfo('script')

    def __init__(self, points, times, right=1.0, present=None):
        self.points, self.times, self.right = points, times, right
        self.present = np.ones(len(times), bool) if present is None else present
        self.seen = 0

    def detect(self, image):
        return [HandRegion(0.0, 0.0, 1.0, 0.0)]

    def estimate(self, frame, regions):
        self.seen += bool(regions)
        t = int(np.argmin(np.abs(self.times - frame.time)))
        joints = np.random.default_rng(t).normal(0, 0.05, (21, 3)).astype(np.float32)
        shown = HandEstimate(self.points[t], joints - joints[:1], float(self.present[t]), self.right)
        return [shown for _ in regions]

    def reset(self, intrinsics=None):
        pass

    def context_start(self, times):
        return len(times)
