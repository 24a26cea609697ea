# The refiner on recorded motion: all of DexYCB's hands in one motion file. `handpose dexycb-to-motion` makes the file.
_base_ = ['../_base_/runtime.py', '../_base_/motion.py', './_base_.py']

motion_file = 'data/dexycb_motion.npz'
labels = 'joints_only'
hand_model = dict(type='ProceduralHand')
cameras = ['840412060917', '836212060125', '932122062010']  # errors along the ray depend on the camera
test_cameras = ['840412060917']
batch_size, num_workers = 16, 0
train_pipeline = ['$any_rate', '$augmentation', '$family_noise']
test_pipeline = ['$held_out_noise']
train_dataset = dict(sampling='$sampling')
val_dataloader = val_cfg = val_evaluator = None
test_evaluator = [dict(type='HandPoseMetric')]
