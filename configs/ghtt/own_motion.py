# A small block P of G-HTT on recordings of your own, a folder of predictions files.
# docs/guides/your_own_actions.md: handpose train ghtt/own_motion \
#     --cfg-options data_root=FOLDER "held_out=['take7', 'take8']"
_base_ = ['../_base_/runtime.py', '../_base_/pose_files.py', './_base_.py', './_baselines_.py']

data_root = 'data/own_motion'
batch_size = 64
num_workers = 0
clip_step = 4

sizes = dict(channels=128, num_layers=3, num_heads=4, feedforward_channels=256, dropout=0.1)
pose_block = dict(
    **sizes, motion_frame='local', context='pose', difference_gain=10.0, residual=True, linear_shortcut=True
)
pose = dict(joint_weight=1e3)
model = '$pose'
actions = objects = []  # block A reads them
num_actions = 0

train_pipeline = []  # true motion; for refining ['$input_noise']
forecast_pipeline = [dict(type='SplitFuture', num_observed='$num_observed')]
max_future = 16
test_evaluator = [dict(type='ForecastMetric')]

epochs = 12
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=1)
val_dataloader = val_cfg = val_evaluator = None
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
