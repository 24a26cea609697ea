# G-HTT's image estimator F on H2O at the paper's size, which gives G-HTT's input. Needs the dataset
# (docs/data/action_datasets.md).
_base_ = ['../_base_/runtime.py', '../_base_/h2o.py', './_image_.py']

data_root = 'data/h2o'
object_names = ['book', 'espresso', 'lotion', 'spray', 'milk', 'cocoa', 'chips', 'cappuccino']
objects = 'obj_pose'  # the object of every frame; 'action': the noun of the action
image_size = (480, 270)
# Without a way to fetch them, training says so and starts from scratch.
imagenet = dict(
    url='https://download.pytorch.org/models/resnet18-f37072fd.pth',
    sha256='f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec',
)
model = dict(backbone=dict(pretrained='$imagenet'))
pose_metric = dict(count_wrist=True)
results_file = dict(type='PredictionsFolder')  # of `handpose test --results FOLDER`: the input of G-HTT

# The paper gives no schedule of F: 30 epochs, each of a quarter of the frames.
frame_step, random_start = 4, True  # one of 4 successive frames, drawn anew
batch_size, num_workers = 64, 8
epochs = 30
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=3e-4, weight_decay=0.01), clip_grad=dict(max_norm=10.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs', convert_to_iter_based=True),
]
