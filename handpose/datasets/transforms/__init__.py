"""What a clip passes through before the model: `transform(sample, rng) -> sample`, one random draw for a whole clip."""

from handpose.datasets.transforms.appearance import ColorJitter, GaussianBlur, MotionBlur
from handpose.datasets.transforms.change_frame_rate import ChangeFrameRate
from handpose.datasets.transforms.choose_views import ChooseViews
from handpose.datasets.transforms.crop import HandCrop
from handpose.datasets.transforms.detections import LoadDetections
from handpose.datasets.transforms.estimator_noise import EstimatorNoise
from handpose.datasets.transforms.frame import ResizeFrames, ShiftFrames
from handpose.datasets.transforms.gaussian_noise import GaussianJointNoise
from handpose.datasets.transforms.load import LoadImages
from handpose.datasets.transforms.load_features import LoadFeatures
from handpose.datasets.transforms.load_predictions import LoadPredictions
from handpose.datasets.transforms.load_recording_predictions import LoadRecordingPredictions
from handpose.datasets.transforms.motion_augmentation import MotionAugmentation
from handpose.datasets.transforms.occlude import RandomOcclusion
from handpose.datasets.transforms.shuffle import ShuffleFrames
from handpose.datasets.transforms.simulated_detections import SimulatedDetections
from handpose.datasets.transforms.skeleton_variation import SkeletonVariation
from handpose.datasets.transforms.split_future import ObserveFraction, SplitFuture

__all__ = [
    'ChangeFrameRate',
    'ChooseViews',
    'ColorJitter',
    'EstimatorNoise',
    'GaussianBlur',
    'GaussianJointNoise',
    'HandCrop',
    'LoadDetections',
    'LoadFeatures',
    'LoadImages',
    'LoadPredictions',
    'LoadRecordingPredictions',
    'MotionAugmentation',
    'MotionBlur',
    'ObserveFraction',
    'RandomOcclusion',
    'ResizeFrames',
    'ShiftFrames',
    'ShuffleFrames',
    'SimulatedDetections',
    'SkeletonVariation',
    'SplitFuture',
]
