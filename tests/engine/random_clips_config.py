# A tiny Deformer on random clips, for commands that take a config. Needs tests/engine in PYTHONPATH.
_base_ = ['../../configs/deformer/synthetic_paper.py']
custom_imports = dict(imports=['random_clips'], allow_failed_imports=False)

num_frames = 3
batch_size = 2
train_dataset = dict(type='RandomClips', length=40, _delete_=True)
test_dataset = dict(type='RandomClips', length=7, _delete_=True)
val_dataloader = None
default_hooks = dict(checkpoint=dict(interval_iters=4))
visualizer = None
model = dict(
    backbone=dict(base_channels=8),
    # Dropout shows whether random numbers come back too.
    spatial_transformer=dict(dropout=0.1),
    temporal_transformer=dict(dropout=0.1),
    head=dict(hidden_channels=(32, 16)),
    monocular_head=dict(hidden_channels=(32, 16)),
    loss=dict(discriminator=dict(hidden_channels=16)),
)
epochs = 3
