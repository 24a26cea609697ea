# PDTM for the detector of `handpose infer`, on rendered videos (docs/systems/pdtm.md).
# `handpose make-data --motion` renders them, `handpose predict-dataset` finds the hands. Minutes on two CPU cores.
_base_ = ['../_base_/runtime.py', '../_base_/motion.py', '../kernel_smoother/_base_.py']

motion_file = 'data/rendered_motion.npz'  # of the rendered hands: handpose dexycb-to-motion data/rendered
predictions = 'data/detected'
labels = 'joints_only'
hand_model = dict(type='ProceduralHand')
batch_size, num_workers = 16, 0
num_frames = 27
sampling = dict(clip_step=9)
train_pipeline = ['$augmentation']
test_pipeline = []
train_dataset = dict(sampling='$sampling')
model = dict(_delete_=True, _include_='$pdtm')
val_dataloader = val_cfg = val_evaluator = None
test_evaluator = [dict(type='HandPoseMetric')]
