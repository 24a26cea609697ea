# PDTM on InterHand2.6M (30 fps release) at the paper's size and schedule. Needs the annotations and the MANO files.
# The inputs are true joints with the noise model; docs/pdtm.md says how to take an estimator's own predictions.
_base_ = ['../_base_/runtime.py', '../_base_/interhand.py', './_base_.py']

data_root = 'data/interhand26m_30fps'
hand_model = dict(type='MANO', model_path='data/mano')
batch_size, num_workers = 64, 8

# The paper: 50 epochs, AdamW with a learning rate of 1e-4, cosine decay. It states no weight decay.
epochs = 50
train_cfg = dict(by_epoch=True, max_epochs='$epochs', val_interval=5)
val_cfg, test_cfg = dict(), dict()
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [dict(type='CosineAnnealingLR', T_max='$epochs', by_epoch=True, begin=0, end='$epochs')]
