# A small SVEgoNet on the built-in recordings with a headset. Written and read as AssemblyHands.
_base_ = ['../_base_/runtime.py', '../_base_/assemblyhands.py', './_svegonet_.py']

data_root = 'data/synthetic_assemblyhands_ego'
# The headset's cameras alone. The last people have manual labels for training alone, as in the paper.
synthetic_data = dict(
    root='$data_root',
    layout='assemblyhands',
    subjects=14,
    manual_subjects=2,
    sequences=4,
    frames=40,
    exo_cameras=0,
    ego_cameras=4,
    manual_step=20,
    annotation_error=4.2,
    seed=0,
)
test_evaluator = ['$pose_metric', '$identity_metric']
crop_size = 64
channels = 64
backbone = dict(type='ResNetFPN', depth=18, base_channels=32, out_channels='$channels', activation='relu')

# From scratch and with few images: distributions, right hands alone, and crops that vary.
joint_head, joint_loss, position_weight = '$distributions', '$distribution_loss', 5.0
distributions = dict(map_size=(16, 16), cells=(64, 64, 64))
heatmaps = dict(deconv_channels=(), depth_cells=16, separate=False)
heatmap_loss = dict(sigma=1.0)
model = dict(
    identity_head=dict(hidden_channels=64),
    wrist_depth_head=dict(hidden_channels=64),
    min_box=20.0,
    mirror_left_hands=True,
    box_noise=0.04,
    max_rotation=0.5,
)

batch_size, num_workers = 16, 0
clips, clip_step = dict(centred=True), 2  # every second frame
train_pipeline = [dict(type='LoadImages'), dict(type='ColorJitter', brightness=0.3, contrast=0.3)]
epochs = 10
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.02), clip_grad=dict(max_norm=5.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
