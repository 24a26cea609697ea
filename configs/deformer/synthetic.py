# The quick start: a small Deformer on the built-in data, written and read as DexYCB. Minutes on two CPU cores.
_base_ = ['../_base_/runtime.py', '../_base_/dexycb.py', './_base_.py']

data_root = 'data/synthetic_dexycb'
synthetic_data = dict(root='$data_root', subjects=10, sequences=25, frames=36, cameras=2, size=256, seed=0)
hand_model = dict(type='ProceduralHand')
image_size = 64
crop_rotation = 0.5
batch_size = 6
num_workers = 0  # loading is quick; on two cores, workers would only slow the network down
num_frames = 5
frame_gap = 4
train_dataset = dict(clip_stride=10)  # an epoch sees every 10th frame as the centre of a clip

# The built-in pictures vary enough by themselves; the crop is the hand alone, always of the same size.
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
    monocular_head=dict(in_channels=64, hidden_channels=(512, 256)),
    # From scratch, 2D joints and rotations lead the way; with the paper's weights the mesh terms drown them at first.
    loss=dict(
        joints_2d_loss=dict(loss_weight=1e4),
        vertex_weight=1e3,
        joint_weight=1e3,
        pose_weight=300.0,
        discriminator=dict(hidden_channels=128),
    ),
)

epochs = 11
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=4)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=1e-2),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
