# The paper's training (section 4.1): 50 epochs, batches of 64, AdamW with a learning rate of 1e-4, cosine decay. It
# states no weight decay and no clipping of gradients.
_expects_ = []
batch_size, num_workers = 64, 8
epochs = 50
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
val_cfg, test_cfg = dict(), dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs')]
