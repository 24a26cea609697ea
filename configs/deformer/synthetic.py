# The quick start: a small Deformer on the built-in data, written and read as DexYCB. Minutes on two CPU cores.
# `make train` runs two stages: synthetic_frames.py trains on single frames, then this config trains on clips, starting
# from those weights (load_from). What each choice is worth: docs/systems/deformer.md.
_base_ = ['../_base_/runtime.py', '../_base_/dexycb.py', './_base_.py']

data_root = 'data/synthetic_dexycb'
synthetic_data = dict(root='$data_root', subjects=10, sequences=25, frames=36, cameras=2, size=256, seed=0)
hand_model = dict(type='ProceduralHand')
image_size = 64
crop_rotation = 0.2
batch_size = 10
num_workers = 1  # the network leaves it a core
num_frames = 3
frame_step = 1
clip_step = 6  # an epoch sees every 6th frame as the centre of a clip

# The built-in images vary enough by themselves; the crop is the hand alone, always of the same size.
train_pipeline = [
    dict(type='LoadImages'),
    dict(
        type='HandCrop',
        size='$image_size',
        scale=1.4,
        union_object=False,
        centre_jitter=0.05,
        scale_jitter=0.1,
        rotation='$crop_rotation',
    ),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.08),
]
test_pipeline = [dict(type='LoadImages'), dict(type='HandCrop', size='$image_size', scale=1.4, union_object=False)]

transformer = dict(channels=64, num_layers=1, num_heads=4, feedforward_channels=128, dropout=0.0)
model = dict(
    channels=64,
    roi_size=8,
    box_scale=1.4,
    joints_to_head=True,
    mirror_left_hands=True,
    backbone=dict(depth=18, base_channels=32, out_channels=64),
    head=dict(in_channels=64 + 42, hidden_channels=(512, 256)),
    monocular_head=None,
    test_mode='overlap',
    # From scratch and with few images, distances teach more than their squares, which the worst frames rule.
    loss=dict(
        point_loss=dict(_delete_=True, type='SmoothL1KeypointLoss', beta=0.01),
        joints_2d_loss=dict(base='l1', loss_weight=30.0),
        smoothness_loss=None,
        vertex_weight=35.0,
        joint_weight=35.0,
        pose_weight=9.0,
        shape_weight=0.02,
        monocular_weight=0.0,
        discriminator=None,
    ),
)

epochs = 2
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=2)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4e-4, weight_decay=1e-2),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
