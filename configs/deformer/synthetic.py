# The quick start: a small Deformer on the built-in data, written and read as DexYCB. Minutes on two CPU cores.
_base_ = ['../_base_/runtime.py', '../_base_/dexycb.py', './_base_.py']

data_root = 'data/synthetic_dexycb'
synthetic_data = dict(root='$data_root', subjects=10, sequences=10, frames=60, cameras=4, size=256, seed=0)
hand_model = dict(type='ProceduralHand')
image_size = 80
crop_rotation = 0.5
batch_size = 4
num_workers = 0  # loading is quick; on two cores, workers would only slow the network down
num_frames = 7
frame_gap = 6
train_dataset = dict(clip_stride=10)  # an epoch sees every 10th frame as the centre of a clip

transformer = dict(channels=96, num_layers=2, num_heads=4, feedforward_channels=192, dropout=0.0)
model = dict(
    channels=96,
    roi_size=10,
    backbone=dict(depth=18, base_channels=32, out_channels=96),
    spatial_transformer=transformer,
    temporal_transformer=transformer,
    head=dict(in_channels=96, hidden_channels=(512, 256)),
    monocular_head=dict(in_channels=96, hidden_channels=(512, 256)),
    loss=dict(discriminator=dict(hidden_channels=128)),
)

epochs = 10
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
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
