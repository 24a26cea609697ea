# Deformer on DexYCB, split s0, at the paper's size and schedule. Needs the dataset and the MANO files (README.md).
_base_ = ['../_base_/runtime.py', '../_base_/dexycb.py', '../_base_/dexycb_images.py', './_base_.py']

data_root = 'data/dexycb'
hand_model = dict(type='MANO', model_path='data/mano', fingertip_vertices='dexycb', left_shapedirs='original')
image_size = 512  # as the published code; the paper states none
crop_rotation = 3.14159  # radians to either side, drawn once for a clip
batch_size = 1  # a clip on each of 8 GPUs, as published
num_workers = 8

# ImageNet weights; without a way to fetch them, training says so and starts from scratch.
model = dict(
    backbone=dict(
        pretrained=dict(
            url='https://download.pytorch.org/models/resnet50-0676ba61.pth',
            sha256='0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a',
        )
    )
)

# The paper: 60 epochs, learning rates 1e-5 and, for the discriminator, 1e-3, both x0.7 every 10 epochs.
epochs = 60
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-5, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={'discriminator': dict(lr_mult=100.0)}),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [dict(type='StepLR', step_size=10, gamma=0.7, by_epoch=True, begin=0, end='$epochs')]
