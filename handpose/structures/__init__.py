"""The data contract: `HandSequence`, the predictions file, and which frames make up a window."""

from handpose.structures.annotated_recording import AnnotatedRecording, RecordingError
from handpose.structures.calibration import Calibration, CalibrationError, CameraCalibration
from handpose.structures.calibration_files.reading import read_calibration
from handpose.structures.calibration_files.writing import write_calibration
from handpose.structures.detection_sources import from_hamer, from_mediapipe, from_wilor
from handpose.structures.fields import SPECS, SequenceError, sample_name
from handpose.structures.forecast import Forecast
from handpose.structures.forecast_file import load_forecast, save_forecast
from handpose.structures.masked_values import fill_masked_values
from handpose.structures.meshes import with_true_vertices
from handpose.structures.missing_joints import infer_missing_joints
from handpose.structures.prediction_checks import PredictionsError
from handpose.structures.prediction_sources import from_interhand, from_joints, from_mano
from handpose.structures.predictions import Predictions
from handpose.structures.predictions_file import load_predictions, save_predictions
from handpose.structures.recording_file import load_annotated_recording, save_annotated_recording
from handpose.structures.sequence import HandSequence
from handpose.structures.text_features import TextFeatures, TextFeaturesError
from handpose.structures.windows import centred_windows, interleaved_clips, overlapping_windows, strided_windows

__all__ = [
    'SPECS',
    'AnnotatedRecording',
    'Calibration',
    'CalibrationError',
    'CameraCalibration',
    'Forecast',
    'HandSequence',
    'Predictions',
    'PredictionsError',
    'RecordingError',
    'SequenceError',
    'TextFeatures',
    'TextFeaturesError',
    'centred_windows',
    'fill_masked_values',
    'from_hamer',
    'from_interhand',
    'from_joints',
    'from_mano',
    'from_mediapipe',
    'from_wilor',
    'infer_missing_joints',
    'interleaved_clips',
    'load_annotated_recording',
    'load_forecast',
    'load_predictions',
    'overlapping_windows',
    'read_calibration',
    'sample_name',
    'save_annotated_recording',
    'save_forecast',
    'save_predictions',
    'strided_windows',
    'with_true_vertices',
    'write_calibration',
]
