# HO3D: clips for training, held-out recordings of the training part for validation, the evaluation part for testing.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'data_root',  # folder of the dataset
    'hand_model',  # dict of the hand model, e.g. of MANO or ProceduralHand
    'image_size',  # side of the square crops, pixels
    'crop_rotation',  # radians to either side by which training crops are rotated
    'num_frames',  # frames of a training clip
    'frame_step',  # frames of the video from one frame of a clip to the next
    'batch_size',  # training clips in a batch, on each GPU
    'num_workers',  # processes that load data, on each GPU
]

train_pipeline = [
    dict(type='LoadImages'),
    # Deformer's crop for HO3D enlarges the object's box too; here the object's is that of its 3D bounding box.
    dict(
        type='HandCrop',
        size='$image_size',
        scale=1.5,
        centre_jitter=0.1,
        scale_jitter=0.2,
        rotation='$crop_rotation',
    ),
    dict(type='GaussianBlur', max_radius=0.5),
    dict(type='ColorJitter', brightness=0.5, contrast=0.5, saturation=0.5, hue=0.15),
]
test_pipeline = [dict(type='LoadImages'), dict(type='HandCrop', size='$image_size', scale=1.5)]

whole_tracks = dict(type='Tracks')
labelled = dict(
    type='HO3D',
    data_root='$data_root',
    version='$version',
    held_out='$held_out',
    hand_model='$hand_model',
    labels='$labels',
    on_broken='$on_broken',
    packed='$packed',
)
train_dataset = dict(
    _include_='$labelled',
    split='train',
    sampling=dict(
        type='ClipSampling',
        num_frames='$num_frames',
        frame_step='$frame_step',
        clip_step='$clip_step',
        centred=True,
        across_gaps=True,
    ),
    pipeline='$train_pipeline',
)
val_dataset = dict(_include_='$labelled', split='val', sampling='$whole_tracks', pipeline='$test_pipeline')
test_dataset = dict(
    type='HO3D',
    data_root='$data_root',
    version='$version',
    split='evaluation',
    labels='joints_only',
    truth_file='$truth_file',
    packed='$packed',
    sampling='$whole_tracks',
    pipeline='$test_pipeline',
)
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size=1, num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size=1, num_workers='$num_workers')
val_evaluator = [dict(type='HandPoseMetric')]
test_evaluator = [dict(type='HandPoseMetric')]
results_file = dict(type='HO3DSubmission', version='$version', data_root='$data_root')  # of `tools/test.py --results`

# Options of the dataset (`handpose.datasets.HO3D` documents them all):
version = 2  # or 3; they differ in labels and splits
held_out = ['SiBF1']  # recordings kept for validation; the paper trains on all: held_out=[] val_dataloader=None
truth_file = None  # 'evaluation_xyz.json' of data_root: test on the joints that HO3D released in November 2024
clip_step = 1  # frames from the centre of one clip to that of the next, at least; 1: a clip for every annotated frame
labels = 'full'  # 'joints_only' reads no hand-model parameters, for people without the MANO files
packed = None  # path of a store of packed frames, to read images from it (docs/data/packed_frames.md)
on_broken = 'error'  # 'skip' counts broken frames as not annotated and reports how many
