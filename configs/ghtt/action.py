# Block A of G-HTT at the paper's size, on block P of pose.py; three datasets together.
# 96.6 M parameters, 48.4 M of which are trained.
_base_ = './pose.py'

init_from = [('work_dirs/ghtt_pose', 'pose_block')]
freeze = ['pose_block']
# Tables of the text features of all action names and of all object names, in the order of the data:
#   handpose text-features --config ghtt/action --only actions --model openclip:ViT-B-32/openai -o data/ghtt_actions.npz
#   handpose text-features --config ghtt/action --only objects --model openclip:ViT-B-32/openai -o data/ghtt_objects.npz
# Training refuses tables whose names are not those of the data. Published weights contain them.
actions = 'data/ghtt_actions.npz'
objects = 'data/ghtt_objects.npz'
model = '$action'
test_samples = 20

# Whole actions. The object is the noun of the action, by its text feature; with object features of images
# (docs/systems/ghtt_image.md), action.aggregator="dict(type='ObjectAggregator')".
train_dataloader = dict(dataset='$train_actions')
epochs = 200
train_cfg = dict(val_interval=20)
val_dataloader = dict(dataset='$val_actions')
val_evaluator = [dict(type='ActionMetric')]
forecast_errors = dict(type='ForecastMetric', min_seconds=(0, 1, 2))
apd = dict(type='APDMetric', min_seconds=(1, 2))
test_evaluator = ['$forecast_errors', '$apd']
# Tables 2 to 4: test_evaluator=$with_fid. The features of FID are those of a network that is trained first, by
# model=$action_transformer, and published (docs/reference/forecast_metrics.md).
feature_weights = 'work_dirs/action_transformer.safetensors'
features = dict(type='TrainedMotionFeatures', weights='$feature_weights')
motion_fid = dict(type='MotionFID', features='$features', min_seconds=(1, 2))
with_fid = ['$forecast_errors', '$apd', '$motion_fid']
