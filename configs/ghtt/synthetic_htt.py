# HTT on features, hands and object of synthetic_image.py: G-HTT's baseline (Table 1). `handpose
# extract-features ghtt/synthetic_image` makes the file of features.
_base_ = '../htt/synthetic.py'

features = 'data/synthetic_h2o_image_features.npz'
feature_size = 128 + 2 * 21 * 3 + 512  # F's image feature, its raw 2.5D joints of both hands, its object feature
features_pipeline = [
    dict(type='LoadFeatures', path='$features', data_root='$data_root'),
    dict(type='ResizeFrames', size='$image_size'),  # the camera follows
]
train_pipeline = test_pipeline = '$features_pipeline'
shuffled_pipeline = [*features_pipeline, dict(type='ShuffleFrames')]
model = dict(
    backbone=None,
    feature_projection=dict(type='MLP', in_channels='$feature_size', channels=['$channels']),
)
