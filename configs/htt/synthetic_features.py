# The small HTT of synthetic.py on features of its trained backbone. An epoch takes seconds, for trying out components
# (docs/ablations/htt_synthetic.yml); `handpose extract-features` makes the file of features.
_base_ = './synthetic.py'

features = 'data/synthetic_h2o_features.npz'
features_pipeline = [
    dict(type='LoadFeatures', path='$features', data_root='$data_root'),
    dict(type='ResizeFrames', size='$image_size'),  # the camera follows
]
train_pipeline = test_pipeline = '$features_pipeline'
shuffled_pipeline = [*features_pipeline, dict(type='ShuffleFrames')]
model = dict(backbone=None)
