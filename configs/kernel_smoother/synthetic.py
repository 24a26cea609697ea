# The refiner of `handpose refine`, on built-in motion. Minutes on two CPU cores.
_base_ = ['../_base_/runtime.py', '../_base_/interhand.py', './_base_.py']

data_root = 'data/synthetic_refiner'
synthetic_data = dict(root='$data_root', layout='interhand', subjects=20, sequences=20, frames=120, cameras=2, seed=0)
labels = 'joints_only'
hand_model = dict(type='ProceduralHand')
cameras = test_cameras = None
batch_size, num_workers = 16, 0
train_pipeline = ['$any_rate', '$augmentation', '$family_noise']
test_pipeline = ['$held_out_noise']
train_dataset = dict(sampling='$sampling')
val_dataloader = val_cfg = val_evaluator = None
test_evaluator = [dict(type='HandPoseMetric')]
