# How a run is logged, saved and seeded.
_expects_ = []
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20),
    # Epochs between checkpoints; interval_iters adds some within an epoch; save_best='headline' keeps the best too.
    checkpoint=dict(type='handpose.CheckpointHook', interval=1, interval_iters=None, keep=2, save_best=None),
)
custom_hooks = [dict(type='ProgressHook')]
log_processor = dict(by_epoch=True, window_size=20)
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
env_cfg = dict(
    cudnn_benchmark=True,
    # How data loader workers start: None means as is safe on the system; 'fork', 'spawn' or 'forkserver'.
    mp_cfg=dict(mp_start_method=None, opencv_num_threads=0),
)
randomness = dict(seed=0)
# Speed and memory; what each option does: handpose/engine/training.py. amp: True, 'auto', 'float16' or 'bfloat16'.
training = dict(amp=False, accumulate=1, compile=False, channels_last=None, activation_checkpointing=False)
# Staged training: init_from=[('stage1.pth', 'backbone')] starts submodules from files, freeze=['backbone'] keeps them.
init_from, freeze = [], []
load_from = None
resume = False
launcher = 'none'
