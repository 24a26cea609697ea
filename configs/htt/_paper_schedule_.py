# The paper's images, start and training: 45 epochs, a clip of 128 frames on each of 2 GPUs, learning rate 3e-5, halved
# every 15 epochs.
_expects_ = []
image_size = (480, 270)
# Without a way to fetch them, training says so and starts from scratch.
imagenet = dict(
    url='https://download.pytorch.org/models/resnet18-f37072fd.pth',
    sha256='f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec',
)
batch_size, num_workers = 1, 8
epochs = 45
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
val_cfg, test_cfg = dict(), dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=3e-5))
param_scheduler = [dict(type='StepLR', step_size=15, gamma=0.5, by_epoch=True, begin=0, end='$epochs')]
