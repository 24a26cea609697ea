# Six verbs from the joints of AssemblyHands, by MS-G3D at the published size. docs/systems/assemblyhands.md
# 2.86 M parameters; 3.05 M with the 13 published scales: `network.gcn_scales=13 network.empty_scales=True`.
_base_ = ['../_base_/runtime.py', './_verbs_.py']

data_root = 'data/assemblyhands'
assembly101_root = 'data/assembly101'  # whose annotations have the actions
verbs = ['pick up', 'position', 'screw', 'put down', 'remove', 'unscrew']
num_verbs = 6
batch_size, test_batch_size = 16, 16
num_workers = 4
# The paper augments screw and unscrew, which are rare, and does not say how: here they occur more often.
repeats = dict(screw=2, unscrew=2)
context_frames = 12  # before and after an action; published with Assembly101: 25 at 60 per second

poses = dict(
    type='AssemblyHandsPoses',
    data_root='$data_root',
    assembly101='$assembly101_root',
    segments='trimmed',
    context_frames='$context_frames',
    min_frames=1,
    on_broken='$on_broken',
)
train_poses = dict(_include_='$poses', split='train', pipeline='$train_pipeline')
test_poses = dict(_include_='$poses', split='val', pipeline='$test_pipeline')
train_dataset = dict(type='VerbDataset', dataset='$train_poses', verbs='$verbs', repeats='$repeats')
val_dataset = dict(type='VerbDataset', dataset='$test_poses', verbs='$verbs')
test_dataset = '$val_dataset'  # the joints of AssemblyHands' test split are not public
train_dataloader = dict(dataset='$train_dataset', batch_size='$batch_size', num_workers='$num_workers')
val_dataloader = dict(dataset='$val_dataset', batch_size='$test_batch_size', num_workers='$num_workers')
test_dataloader = dict(dataset='$test_dataset', batch_size='$test_batch_size', num_workers='$num_workers')

train_pipeline = test_pipeline = []  # true poses; or '$estimated'
on_broken = 'error'
