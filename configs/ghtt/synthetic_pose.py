# A small block P of G-HTT on built-in recordings of two hands, for synthetic_action.py. Minutes on two cores.
_base_ = ['../_base_/runtime.py', '../_base_/assembly101.py', './_base_.py', './_baselines_.py']

data_root = 'data/synthetic_assembly101'
# 20 people do 24 actions seven times each, eight in a row; 14 of them are for training.
synthetic_data = dict(root='$data_root', layout='assembly101', subjects=20, repetitions=7, seed=0)
batch_size = 64
# Two of five training clips have the errors of an estimator, so that P refines these and forecasts true motion well.
train_pipeline = [dict(type='EstimatorNoise', camera_distance=(0.4, 0.8), probability=0.4)]
num_workers = 1
clip_step = 8
segments = dict(segment_step=5)  # test every fifth segment of an action

sizes = dict(channels=128, num_layers=3, num_heads=4, feedforward_channels=256, dropout=0.0)
# In the palm's own frame the network need not learn that motion is the same wherever the camera stands.
pose_block = dict(**sizes, motion_frame='local', difference_gain=10.0, residual=True, linear_shortcut=True)
pose = dict(joint_weight=3e3, kl_loss=dict(loss_weight=0.03))
model = '$pose'
actions = objects = []  # block A reads them
num_actions = 24

epochs = 5
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=2)
val_cfg, test_cfg = dict(), dict()
val_evaluator = [dict(type='ForecastMetric')]
test_evaluator = [dict(type='ForecastMetric')]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
