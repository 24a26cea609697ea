# A small block P of G-HTT on DexYCB's recorded motion, split s0: 16 frames and 16 ahead.
# `handpose dexycb-to-motion` makes the file. One hand a clip; left hands are seen in a mirror.
_base_ = ['../_base_/runtime.py', '../_base_/motion.py', './_base_.py', './_baselines_.py']

motion_file = 'data/dexycb_motion.npz'
labels = 'joints_only'
hand_model = None
flip = 0.0
cameras = test_cameras = ['840412060917']  # one of eight: the motion does not depend on the camera
batch_size = 128
num_workers = 1
clip_step = 2

# The camera stands still before a table, so it helps to know where the palms are.
sizes = dict(channels=128, num_layers=3, num_heads=4, feedforward_channels=256, dropout=0.1)
pose_block = dict(
    **sizes, motion_frame='local', context='pose', difference_gain=10.0, residual=True, linear_shortcut=True
)
pose = dict(joint_weight=1e3)
model = '$pose'
actions = objects = []  # nothing here reads them
num_actions = 0

train_pipeline = []  # true motion; or input_noise of an estimator: [dict(type='EstimatorNoise')]
test_pipeline = [dict(type='SplitFuture', num_observed='$num_observed')]
segments = dict(type='ForecastSegments', num_observed='$num_observed', max_future=16, min_future=16)
test_dataset = dict(sampling='$segments')
test_dataloader = dict(batch_size=64)
test_evaluator = [dict(type='ForecastMetric')]

epochs = 16
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=1)
val_dataloader = val_cfg = val_evaluator = None
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
