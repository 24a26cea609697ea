# SVEgoNet on AssemblyHands at the paper's size: ResNet-50, crops of 256 pixels. docs/systems/assemblyhands.md
# The recipe is that of the dataset's toolkit; the paper states none.
_base_ = ['../_base_/runtime.py', '../_base_/assemblyhands.py', './_svegonet_.py']

data_root = 'data/assemblyhands'
test_dataset = dict(split='val')  # the joints of the test split are not public
test_evaluator = ['$pose_metric', '$identity_metric']
crop_size = 256
channels = 2048
# Without a way to fetch them, training says so and starts from scratch.
imagenet = dict(
    url='https://download.pytorch.org/models/resnet50-0676ba61.pth',
    sha256='0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a',
)
backbone = dict(type='ResNetMap', depth=50, pretrained='$imagenet')

batch_size, num_workers = 8, 8
train_pipeline = [dict(type='LoadImages')]
epochs = 20
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
param_scheduler = [dict(type='MultiStepLR', milestones=[15, 17], gamma=0.1, by_epoch=True, begin=0, end='$epochs')]
