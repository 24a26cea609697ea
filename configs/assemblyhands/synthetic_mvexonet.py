# A small MVExoNet on the built-in recordings of eight cameras. docs/systems/assemblyhands.md
_base_ = ['../_base_/runtime.py', '../_base_/assemblyhands.py', './_mvexonet_.py']

data_root = 'data/synthetic_assemblyhands_exo'
# Four arrangements of the cameras in training; test_camera_layout=9 tests with one that is not among them.
synthetic_data = dict(
    root='$data_root',
    layout='assemblyhands',
    subjects=15,
    sequences=8,
    frames=24,
    ego_cameras=0,
    camera_layouts=4,
    test_camera_layout=0,
    annotation_error=0.0,
    seed=0,
)
crop_size, resolution = 64, 12
volume_network = dict(type='V2VNet', in_channels=16, channels=(16, 32, 64), stem_channels=16, stem_kernel=3)
model = dict(
    backbone=dict(variant=(1.0, 0.4), strides=(4, 8, 16)),
    # From scratch, so the strong cross entropy and maps of single views teach more than the distance.
    loss=dict(volume_weight=0.3, map_weight=0.3),
    joint_maps=True,
    cube_size=0.26,
    max_rotation=0.5,
    box_noise=0.1,
    train_views=(2, 6),
    mirror_left_hands=True,
)
detections = '$simulated_detections'
frame = 'world'
pose_metric = dict(auc_ranges=dict(cam=(0, 50, 101)))

# Eight videos take longer to decode than the network to learn from them, so frames stay in memory: 1.6 GB.
clip_step, clips = 3, dict(centred=True)
num_workers, batch_size = 0, 4
train_dataset = dict(_delete_=True, type='CachedDataset', dataset='$automatic')

epochs = 12
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.01), clip_grad=dict(max_norm=5.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
training = dict(channels_last=True)
