# AssemblyHands' egocentric images: single frames for training, whole sequences of each camera for testing.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'data_root',  # folder of the dataset
    'train_pipeline',  # transforms of training frames
    'test_split',  # 'val', or 'test', whose joints are not public
    'batch_size',  # training frames in a batch, on each GPU; each has one or two hands
    'num_workers',  # processes that load data, on each GPU
]

test_pipeline = [dict(type='LoadImages')]

single_frames = dict(type='ClipSampling', num_frames=1, centred=True, clip_step='$clip_step')
whole_tracks = dict(type='Tracks')
egocentric = dict(
    type='AssemblyHands', data_root='$data_root', views='$views', cameras_per_clip=1, on_broken='$on_broken'
)
train_frames = dict(_include_='$egocentric', split='train', sampling='$single_frames', pipeline='$train_pipeline')
val_tracks = dict(_include_='$egocentric', split='val', sampling='$whole_tracks', pipeline='$test_pipeline')
test_tracks = dict(_include_='$egocentric', split='$test_split', sampling='$whole_tracks', pipeline='$test_pipeline')

# The rows of Table 4: `train_dataset=$train_manual`, `$train_automatic` or `$train_both`.
train_manual = dict(_include_='$train_frames', label_set='manual')
train_automatic = dict(_include_='$train_frames', label_set='automatic')
train_both = dict(type='DatasetMix', datasets=['$train_manual', '$train_automatic'])
# Its columns: `test_dataset=$test_manual`, `$test_automatic` or `$test_both`.
test_manual = dict(_include_='$test_tracks', label_set='manual')
test_automatic = dict(_include_='$test_tracks', label_set='automatic')
test_both = dict(type='DatasetMix', datasets=['$test_manual', '$test_automatic'])

train_dataset = '$train_automatic'  # the labels that are public
val_dataset = dict(_include_='$val_tracks', label_set='automatic')
test_dataset = '$test_automatic'
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size=1, num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size=1, num_workers='$num_workers')

# As in the dataset's toolkit: relative to the wrist, which counts; PCK from 0 to 50 mm.
pose_metric = dict(
    type='HandPoseMetric', auc_ranges=dict(cam=(0, 100, 101), ra_wrist=(0, 50, 101), pa=(0, 50, 101)), count_wrist=True
)
identity_metric = dict(type='InterHandMetric', hand_types='annotated')  # also of the place of one hand to the other
val_evaluator = ['$pose_metric']
test_evaluator = ['$pose_metric', '$identity_metric']
results_file = dict(type='PredictionsFolder')  # of `handpose test --results FOLDER`

# Options of the dataset (`handpose.datasets.AssemblyHands` documents them all):
views = 'ego'  # all four cameras of the headset; or a list, such as ['e1', 'e2']
clip_step = 1  # frames of a sequence from one training frame to the next
on_broken = 'error'  # 'skip' leaves damaged images out and reports how many
