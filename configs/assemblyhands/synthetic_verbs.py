# A small MS-G3D on built-in actions of two hands, in the layout of Assembly101.
_base_ = ['../_base_/runtime.py', '../_base_/assembly101.py', './_verbs_.py']

data_root = 'data/synthetic_assembly101'
# The data of ghtt/synthetic_pose.
synthetic_data = dict(root='$data_root', layout='assembly101', subjects=20, repetitions=7, seed=0)
# Six verbs; the two of a pair differ in order or in pace.
verbs = {
    'take': ['grab', 'take out'],
    'place': ['place', 'put in'],
    'open': ['open'],
    'close': ['close'],
    'pour': ['pour', 'slowly pour'],
    'squeeze': ['squeeze', 'slowly squeeze'],
}
num_verbs = 6
repeats = None  # or such as dict(pour=2), how often the samples of a verb occur in an epoch
train_dataset = dict(_delete_=True, type='VerbDataset', dataset='$train_actions', verbs='$verbs', repeats='$repeats')
val_dataset = dict(_delete_=True, type='VerbDataset', dataset='$val_actions', verbs='$verbs')
test_dataset = dict(_delete_=True, type='VerbDataset', dataset='$test_actions', verbs='$verbs')
train_pipeline = test_pipeline = []  # true poses; or '$estimated'; or ['$input_noise'], errors drawn anew each epoch
num_observed = 16  # of forecasting, which this config does not do

joint_order = 'assembly101'
network = dict(channels=(12, 48), windows=(3,), gcn_scales=4, g3d_scales=3)
# Of the same size: `modern.network=$transformer optim_wrapper=$adamw_optimizer`.
transformer = dict(channels=28, num_layers=2, num_heads=4, feedforward_channels=96)
model = '$modern'
modern = dict(num_frames=16, test_clips=1)
optim_wrapper = '$cosine_optimizer'
param_scheduler = '$cosine'
cosine_optimizer = dict(optimizer=dict(lr=0.05))
batch_size = 16
num_workers = 1
epochs = 3
