# MVExoNet at the paper's size: EfficientNet-B0, 32 channels, 64 voxels, 8 views. docs/systems/assemblyhands.md
# 15.6 M parameters.
_base_ = ['../_base_/runtime.py', '../_base_/assemblyhands.py', './_mvexonet_.py']

data_root = 'data/assemblyhands'
train_dataset = '$manual'  # as in the paper; the exact labels
crop_size, resolution = 256, 64
volume_network = dict(type='V2VNet', in_channels=32)
model = dict(backbone=dict(pretrained=None))  # ImageNet weights of timm's efficientnet_b0: dict(path=...)
batch_size = 1  # a sample has 2 hands in 8 views
num_workers = 4
detections = '$loaded_detections'
frame = 'world'
pose_metric = dict(auc_ranges=dict(cam=(0, 50, 101)))

# Learning rates of learnable triangulation: 1e-4 for the backbone, 1e-3 for the rest.
epochs = 20
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=1e-3),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [dict(type='MultiStepLR', milestones=[15, 18], gamma=0.1, by_epoch=True, begin=0, end='$epochs')]
training = dict(accumulate=4)
