"""Drawing: overlays on images, videos, and figures of results."""

from handpose.visualization.action_figures import (
    accuracy_by_fraction,
    attention_strip,
    confusion_matrices,
    confusion_matrix,
)
from handpose.visualization.draw import (
    add_caption,
    contact_sheet,
    draw_boxes,
    draw_mesh,
    draw_skeleton,
    put_label,
    side_by_side,
)
from handpose.visualization.figures import confidence_strip, error_by_occlusion_bar, error_per_joint_hand, pck_curve
from handpose.visualization.future_figures import future_rows, future_strip, motion_row
from handpose.visualization.future_video import FutureVideo, write_future_video, write_motion_video
from handpose.visualization.hand_overlay import draw_hands, draw_predictions
from handpose.visualization.images import save_contact_sheet, save_image
from handpose.visualization.overlays import draw_clip, draw_frames
from handpose.visualization.recording_report import write_recording_report
from handpose.visualization.round_figures import (
    draw_rounds,
    error_by_occlusion,
    error_by_round,
    error_by_views,
    refinement_rounds,
)
from handpose.visualization.spectrum import motion_spectrum, spectrum_figure
from handpose.visualization.timeline import error_timeline

__all__ = [
    'FutureVideo',
    'accuracy_by_fraction',
    'add_caption',
    'attention_strip',
    'confidence_strip',
    'confusion_matrices',
    'confusion_matrix',
    'contact_sheet',
    'draw_boxes',
    'draw_clip',
    'draw_frames',
    'draw_hands',
    'draw_mesh',
    'draw_predictions',
    'draw_rounds',
    'draw_skeleton',
    'error_by_occlusion',
    'error_by_occlusion_bar',
    'error_by_round',
    'error_by_views',
    'error_per_joint_hand',
    'error_timeline',
    'future_rows',
    'future_strip',
    'motion_row',
    'motion_spectrum',
    'pck_curve',
    'put_label',
    'refinement_rounds',
    'save_contact_sheet',
    'save_image',
    'side_by_side',
    'spectrum_figure',
    'write_future_video',
    'write_motion_video',
    'write_recording_report',
]
