# PDTM on DexYCB, split s0, at the paper's size and schedule. Needs the labels (no images) and the MANO files.
_base_ = ['../_base_/runtime.py', '../_base_/dexycb.py', './_base_.py', './_paper_schedule_.py']

data_root = 'data/dexycb'
hand_model = dict(type='MANO', model_path='data/mano', fingertip_vertices='dexycb', left_shapedirs='original')
frame_step = 1
clip_step = 9
train_pipeline = [dict(type='MotionAugmentation', hand_model='$hand_model', flip='$flip'), dict(type='EstimatorNoise')]
test_pipeline = [dict(type='EstimatorNoise')]
test_evaluator = [
    dict(type='HandPoseMetric'),  # the paper's MPJPE is the bone-scaled one
    dict(type='HandMeshMetric', f_score_thresholds=[]),
]
