# HTT on H2O at the paper's size and schedule. Needs the dataset (docs/action_datasets.md).
_base_ = ['../_base_/runtime.py', '../_base_/h2o.py', './_base_.py']

data_root = 'data/h2o'
image_size = (480, 270)
batch_size, num_workers = 1, 8  # a clip of 128 frames on each of 2 GPUs, as published

# ImageNet weights, whose batch norm keeps its statistics, as published; without a way to fetch them, training says so
# and starts from scratch.
model = dict(
    backbone=dict(
        norm_eval=True,
        pretrained=dict(
            url='https://download.pytorch.org/models/resnet18-f37072fd.pth',
            sha256='f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec',
        ),
    )
)

# 45 epochs, learning rate 3e-5, halved every 15.
epochs = 45
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
val_cfg, test_cfg = dict(), dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=3e-5))
param_scheduler = [dict(type='StepLR', step_size=15, gamma=0.5, by_epoch=True, begin=0, end='$epochs')]
