# PDTM on DexYCB, split s0, at the paper's size and schedule. Needs the dataset's labels (no pictures) and the MANO files.
_base_ = ['../_base_/runtime.py', '../_base_/dexycb.py', './_base_.py']

data_root = 'data/dexycb'
hand_model = dict(type='MANO', model_path='data/mano', fingertip_vertices='dexycb', left_shapedirs='original')
# Joints of neighbouring frames instead of pictures; the reader's clips have their first number of frames odd.
frame_gap = 1
train_pipeline = [dict(type='MotionAugmentation'), dict(type='EstimatorNoise')]
test_pipeline = [dict(type='EstimatorNoise')]
test_evaluator = [
    dict(type='HandPoseMetric'),  # the paper's numbers are mpjpe_ra_wrist_bone_scaled_mm
    dict(type='HandMeshMetric', f_score_thresholds=[]),
]
train_dataset = dict(clip_stride=9)
batch_size, num_workers = 64, 8

epochs = 50
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
val_cfg, test_cfg = dict(), dict()
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01), clip_grad=dict(max_norm=10.0)
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs')]
