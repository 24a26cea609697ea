# A small Deformer with every component and loss of the paper, on the built-in data. The ablation tables vary it
# (docs/ablations). After the same time the quick start, synthetic.py, is much more accurate.
_base_ = './synthetic.py'

crop_rotation = 0.5
batch_size = 6
num_workers = 0
num_frames = 5
frame_step = 4
clip_step = 10
model = dict(
    monocular_head=dict(
        _delete_=True,
        type='HandRegressionHead',
        in_channels=64,
        hidden_channels=(512, 256),
        rotation_space='$rotation_space',
    ),
    test_mode='all',
    # From scratch, 2D joints and rotations lead the way; with the paper's weights the mesh terms drown them at first.
    loss=dict(
        point_loss=dict(_delete_=True, type='MaxMSELoss'),
        joints_2d_loss=dict(base='mse', loss_weight=1e4),
        smoothness_loss=dict(_delete_=True, type='SmoothnessLoss', loss_weight=0.1),
        vertex_weight=1e3,
        joint_weight=1e3,
        pose_weight=300.0,
        shape_weight=0.1,
        monocular_weight=1.0,
        discriminator=dict(
            _delete_=True, type='MotionDiscriminator', in_channels=91, hidden_channels=128, bounded_attention=False
        ),
    ),
)
epochs = 11
train_cfg = dict(val_interval=4)
optim_wrapper = dict(optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=10.0))
