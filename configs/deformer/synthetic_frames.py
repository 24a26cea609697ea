# First stage of the quick start: the network of synthetic.py on single frames. The frames of a clip look alike, so a
# batch of clips holds few different images and teaches the backbone less at the same cost.
_base_ = './synthetic.py'

num_frames = 1
batch_size = 30
epochs = 6
clip_step = 1
# A frame alone has no motion, and its own hand is the fused one.
model = dict(loss=dict(frame_weight=0.0, motion_weight=0.0))
train_cfg = dict(val_interval=3)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
