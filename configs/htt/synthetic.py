# A small HTT on the built-in egocentric actions, written and read as H2O. Half an hour on two CPU cores; what it
# reaches: docs/systems/htt.md.
_base_ = ['../_base_/runtime.py', '../_base_/h2o.py', './_base_.py']

data_root = 'data/synthetic_h2o'
synthetic_data = dict(root='$data_root', layout='h2o', subjects=10, videos=4, seed=0)
image_size = (160, 90)
batch_size = 12
num_workers = 0  # on two cores, workers gain nothing
num_frames, frame_step = 15, 6  # 90 frames of the video: one clip has the longest action whole
window = 3
random_start = True  # one clip of each video an epoch
channels = 128

train_pipeline = [
    dict(type='LoadImages'),
    dict(type='ResizeFrames', size='$image_size'),
    dict(type='ShiftFrames', max_shift=0.1),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05),
]
# For testing what the order in time gives: --cfg-options test_pipeline='$shuffled_pipeline'
shuffled_pipeline = [dict(type='LoadImages'), dict(type='ResizeFrames', size='$image_size'), dict(type='ShuffleFrames')]
num_heads, feedforward_channels, dropout = 4, 256, 0.1
# From scratch, so batch norm trains; without a norm at its end, P learns positions faster. A pixel here is three of the
# published ones.
model = dict(
    backbone=dict(base_channels=16, pooling='soft_argmax'),
    pose_block=dict(final_norm=False, dropout=0.0),
    pose_head=dict(pixel_scale=33.3, depth_scale=3e-4),
    loss=dict(hand_weight=1.0, depth_weight=100.0),
)

# Both actions of a pair look alike in every frame; only the order in time tells them apart.
action_metric = dict(
    pairs=[
        ('grab milk', 'place milk'),
        ('grab chips', 'place chips'),
        ('grab spray', 'place spray'),
        ('grab book', 'place book'),
        ('open milk', 'close milk'),
        ('open lotion', 'close lotion'),
        ('take out cocoa', 'put in cocoa'),
    ]
)

epochs = 68
training = dict(channels_last=True)
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=20)
val_cfg, test_cfg = dict(), dict()
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.02), clip_grad=dict(max_norm=10.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
