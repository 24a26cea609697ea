# HTT at the paper's size (Wen et al., CVPR 2023): ResNet-18, 512 channels, 2 layers a block; 25.5 M parameters.
# Values written '$name' are the top-level values `name` of the config that uses this file.
_expects_ = [
    'image_size',  # width and height of the images, pixels
    'num_hands',  # hands in an image: 1 or 2
    'num_objects',  # classes of objects
    'num_actions',  # classes of actions
]

num_frames = 128  # T, of a clip; Table 5: 16 to 128
frame_step = 2  # frames of the video from one frame of a clip to the next
window = 16  # t, of the pose block P; Table 4: 1 (no such block) to 128
channels = 512  # of the backbone's features, and of both blocks
num_layers, num_heads, feedforward_channels, dropout = 2, 8, 2048, 0.0  # of each block
position = 'per_layer'  # where the position code enters; or 'input'

transformer = dict(
    channels='$channels',
    num_layers='$num_layers',
    num_heads='$num_heads',
    feedforward_channels='$feedforward_channels',
    dropout='$dropout',
    position='$position',
)

model = dict(
    type='HTT',
    num_frames='$num_frames',
    frame_step='$frame_step',
    cascaded=True,  # Table 5: False sets P and A side by side
    vote='sum',  # of the clips of a video, by their probabilities; or 'majority'
    normalizer=dict(type='ImageNormalizer', mean=(127.5, 127.5, 127.5), std=(255.0, 255.0, 255.0)),
    backbone=dict(type='PooledResNet', depth=18),
    pose_block=dict(type='WindowedTransformer', _include_='$transformer', window='$window', final_norm=True),
    pose_head=dict(
        type='Pose25DHead',
        channels='$channels',
        num_hands='$num_hands',
        image_size='$image_size',
        shared_focal=False,  # the published code: True
    ),
    object_head=dict(
        type='ObjectHead',
        channels='$channels',
        num_objects='$num_objects',
        activation=None,  # between its layers, as published; or 'leaky_relu'
    ),
    tokenizer=dict(
        type='ActionTokenizer',
        channels='$channels',
        num_hands='$num_hands',
        num_objects='$num_objects',
        inputs=('image', 'pose', 'object'),  # Table 5: each left out
        detach=False,
    ),
    action_head=dict(type='ActionHead', _include_='$transformer', num_actions='$num_actions'),
    loss=dict(
        type='HTTLoss',
        hand_weight=0.5,
        depth_weight=200.0,
        object_weight=1.0,
        action_weight=1.0,
        average='clip',  # Eq. 8; the published code: 'batch'
    ),
)
