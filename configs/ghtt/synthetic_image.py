# A small image estimator F on built-in egocentric actions, docs/systems/ghtt_image.md.
_base_ = ['../_base_/runtime.py', '../_base_/h2o.py', './_image_.py']

data_root = 'data/synthetic_h2o'
synthetic_data = dict(root='$data_root', layout='h2o', subjects=10, videos=4, seed=0)
object_names = ['book', 'espresso', 'lotion', 'spray', 'milk', 'cocoa', 'chips', 'cappuccino']
image_size = (160, 90)
channels = 128
batch_size = 48
num_workers = 0  # on two cores, workers gain nothing
frame_step, random_start = 16, True  # an epoch sees one of 16 successive frames, drawn anew

train_pipeline = [
    dict(type='LoadImages'),
    dict(type='ResizeFrames', size='$image_size'),
    dict(type='ShiftFrames', max_shift=0.1),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05),
]
# From scratch. A pixel here is three of the paper's.
model = dict(
    backbone=dict(base_channels=16),
    pose_head=dict(pixel_scale=33.3, depth_scale=3e-4),
    loss=dict(hand_weight=1.0, depth_weight=100.0),
)
pose_metric = dict(count_wrist=True)
results_file = dict(type='PredictionsFolder')  # of `handpose test --results FOLDER`: the input of G-HTT

epochs = 30
training = dict(channels_last=True)
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=10)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.02), clip_grad=dict(max_norm=10.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
