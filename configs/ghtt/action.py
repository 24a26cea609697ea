# Block A of G-HTT at the paper's size, on the block P of pose.py: actions of three datasets together.
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
# (docs/ghtt_image.md), action.aggregator="dict(type='ObjectAggregator')".
train_dataloader = dict(dataset='$train_actions')
epochs = 200
train_cfg = dict(val_interval=20)
val_dataloader = dict(dataset='$val_actions')
val_evaluator = [dict(type='ActionMetric')]
# FID (Tables 2 to 4) needs the network whose features it compares, trained first with model=$action_transformer:
# dict(type='MotionFID', ...), see docs/forecast_metrics.md.
test_evaluator = [
    dict(type='ForecastMetric', min_seconds=(0, 1, 2)),
    dict(type='APDMetric', min_seconds=(1, 2)),
]
