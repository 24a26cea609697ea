"""Components of the models, forward and backward, each against the way it is usually written."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.hands import ProceduralHand, linear_blend_skinning
from handpose.hands.model import MANO_PARENTS
from handpose.models import fuse_deformed_poses
from handpose.models.layers import roi_align
from handpose.models.layers.transformer import MultiHeadAttention

BOTH = ('cpu', 'cuda')


def trained(forward: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], tuple[Tensor, tuple[Tensor, ...]]]:
    """A run: the output, and the gradients of its squared sum for every input."""

    def run() -> tuple[Tensor, tuple[Tensor, ...]]:
        leaves = [value.detach().requires_grad_() for value in inputs]
        out = forward(*leaves)
        return out, torch.autograd.grad(out.square().sum(), leaves)

    return run


def hands(settings: Settings) -> list[Tensor]:
    """Rest vertices (B, V, 3), rest joints (B, 16, 3), rotations (B, 16, 3, 3) and skinning weights (V, 16)."""
    count = 16 if settings.quick else 64
    model = ProceduralHand()
    draw = torch.Generator().manual_seed(0)
    vertices = model.template_vertices + 0.002 * torch.randn(count, *model.template_vertices.shape, generator=draw)
    joints = model.template_joints.expand(count, -1, -1)
    rotations = torch.linalg.matrix_exp(_skew(0.4 * torch.randn(count, 16, 3, generator=draw)))
    return [value.to(settings.device) for value in (vertices, joints, rotations, model.weights)]


def _skew(x: Tensor) -> Tensor:
    zero = torch.zeros_like(x[..., 0])
    rows = [zero, -x[..., 2], x[..., 1], x[..., 2], zero, -x[..., 0], -x[..., 1], x[..., 0], zero]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


@case('hand', devices=BOTH)
def skinning(settings: Settings) -> Work:
    """Linear blend skinning of hand meshes, with its backward pass."""
    vertices, joints, rotations, weights = hands(settings)
    run = trained(lambda v, j, r: linear_blend_skinning(v, j, r, weights)[0], vertices, joints, rotations)
    return Work(run, len(vertices))


@skinning.reference
def skinning_homogeneous(settings: Settings) -> Work:
    """A 4 x 4 matrix blended for every vertex."""
    vertices, joints, rotations, weights = hands(settings)

    def forward(vertices: Tensor, joints: Tensor, rotations: Tensor) -> Tensor:
        chain = [_rigid(rotations[:, 0], joints[:, 0])]
        for joint, parent in enumerate(MANO_PARENTS[1:], start=1):
            chain.append(chain[parent] @ _rigid(rotations[:, joint], joints[:, joint] - joints[:, parent]))
        motion = torch.stack(chain, 1)
        moved = (motion @ F.pad(joints, (0, 1))[..., None]).squeeze(-1)
        motion = torch.cat([motion[..., :3], motion[..., 3:] - moved[..., None]], -1)
        blended = torch.einsum('vj,bjxy->bvxy', weights, motion)
        return (blended @ F.pad(vertices, (0, 1), value=1.0)[..., None])[..., :3, 0]

    return Work(trained(forward, vertices, joints, rotations), len(vertices))


def _rigid(rotation: Tensor, shift: Tensor) -> Tensor:
    last = torch.eye(4, device=rotation.device)[3:].expand(len(rotation), 1, 4)
    return torch.cat([torch.cat([rotation, shift[..., None]], -1), last], 1)


def maps(settings: Settings) -> tuple[Tensor, Tensor]:
    """Feature maps (N, 256, 128, 128) of 512 x 512 images, and boxes (N, 4) as Deformer cuts them."""
    count = 1 if settings.quick else 7
    draw = torch.Generator().manual_seed(0)
    corner, side = 100 * torch.rand(count, 2, generator=draw), 250 + 150 * torch.rand(count, 1, generator=draw)
    features = torch.randn(count, 256, 128, 128, generator=draw)
    return features.to(settings.device), torch.cat([corner, corner + side], 1).to(settings.device)


@case('map', devices=BOTH)
def roi_align_paper(settings: Settings) -> Work:
    """RoI align at Deformer's size (256 x 128 x 128 to 256 x 32 x 32), with its backward pass."""
    features, boxes = maps(settings)
    return Work(trained(lambda x: roi_align(x, boxes, 32, 0.25), features), len(features))


@roi_align_paper.reference
def roi_align_by_sampling(settings: Settings) -> Work:
    """Box by box: every sample point looked up in the map, then averaged."""
    features, boxes = maps(settings)

    def forward(features: Tensor) -> Tensor:
        return torch.cat([_sampled(one, box / 4) for one, box in zip(features.split(1), boxes, strict=True)])

    return Work(trained(forward, features), len(features))


def _sampled(one: Tensor, box: Tensor, size: int = 32) -> Tensor:
    """(1, C, h, w) and a box in cells -> (1, C, size, size)."""
    places, counts = [], []
    for axis, cells in ((0, one.shape[3]), (1, one.shape[2])):
        length = box[axis + 2] - box[axis]
        count = int((length / size).ceil())
        place = box[axis] + (torch.arange(size * count, device=box.device) + 0.5) * length / (size * count)
        places.append(2 * place / (cells - 1) - 1)
        counts.append(count)
    grid = torch.stack(torch.meshgrid(*places, indexing='xy'), -1)[None]
    return F.avg_pool2d(F.grid_sample(one, grid, align_corners=True), (counts[1], counts[0]))


def tokens(settings: Settings) -> tuple[MultiHeadAttention, Tensor]:
    """Attention of Deformer's size and its input (B, 1024, 256)."""
    layer = MultiHeadAttention(256, 8).to(settings.device)
    draw = torch.Generator().manual_seed(0)
    return layer, torch.randn(1 if settings.quick else 7, 1024, 256, generator=draw).to(settings.device)


@case('frame', devices=BOTH)
def attention(settings: Settings) -> Work:
    """Self-attention over the 1024 tokens of a frame, 8 heads, 256 channels, with its backward pass."""
    layer, x = tokens(settings)
    return Work(trained(lambda x: layer(x, x, x), x), len(x))


@attention.reference
def attention_written_out(settings: Settings) -> Work:
    """Scores, softmax and weighted sum written out."""
    layer, x = tokens(settings)

    def forward(x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (8, -1)).transpose(1, 2) for f in (layer.query, layer.key, layer.value))
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        return layer.out((weights @ v).transpose(1, 2).flatten(2))

    return Work(trained(forward, x), len(x))


def clips(settings: Settings) -> list[Tensor]:
    """Poses, forward and backward motions (B, 7, 96) and confidences (B, 7)."""
    draw = torch.Generator().manual_seed(0)
    count = 16 if settings.quick else 64
    poses = [0.3 * torch.randn(count, 7, 96, generator=draw) for _ in range(3)]
    return [value.to(settings.device) for value in (*poses, torch.randn(count, 7, generator=draw))]


@case('clip', devices=BOTH)
def dynamic_fusion(settings: Settings) -> Work:
    """Deformer's fusion of the poses of 7 frames (Eq. 2 and 3), with its backward pass."""
    inputs = clips(settings)
    return Work(trained(fuse_deformed_poses, *inputs), len(inputs[0]))


@dynamic_fusion.reference
def dynamic_fusion_loop(settings: Settings) -> Work:
    """Two loops over the frames, the motions added step by step."""
    inputs = clips(settings)

    def forward(pose: Tensor, ahead: Tensor, back: Tensor, confidence: Tensor) -> Tensor:
        votes, fused = confidence.softmax(1), []
        for j in range(pose.shape[1]):
            total = torch.zeros_like(pose[:, 0])
            for i in range(pose.shape[1]):
                steps = [ahead[:, t] for t in range(i, j)] + [back[:, t] for t in range(j + 1, i + 1)]
                total = total + votes[:, i, None] * sum(steps, pose[:, i])
            fused.append(total)
        return torch.stack(fused, 1)

    return Work(trained(forward, *inputs), len(inputs[0]))
