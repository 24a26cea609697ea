"""Graphs of hands against shortest paths and adjacency matrices that are computed another way, in float64."""

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import shortest_path

from handpose.hands.joints import JOINT_ORDERS
from handpose.models import MultiScaleGraphConv, WindowedGraphConv, hand_graph
from handpose.models.layers.hand_graph import (
    hop_distances,
    multi_scale_adjacency,
    num_supported_scales,
    window_adjacency,
)


def powers(adjacency, k):
    """The published definition: nodes within k edges, less those within k - 1, and self-loops."""
    eye = np.eye(len(adjacency))
    if k == 0:
        return eye
    within = [np.minimum(np.linalg.matrix_power(adjacency + eye, n), 1) for n in (k, k - 1)]
    return within[0] - within[1] + eye


def normalized(matrix):
    degree = matrix.sum(-1)
    return np.diag(degree**-0.5) @ matrix @ np.diag(degree**-0.5)


def reference(adjacency, num_scales):
    return np.stack([normalized(powers(adjacency, k)) for k in range(num_scales)])


@pytest.mark.parametrize('order', ['common', 'assembly101', 'assemblyhands'])
def test_matrices(order):
    """Every scale, those beyond the graph too, of the frame and of a window."""
    adjacency = hand_graph(order).adjacency
    for graph in (adjacency, window_adjacency(adjacency, 3)):
        found = multi_scale_adjacency(graph, 13)
        np.testing.assert_allclose(found, reference(graph * (1 - np.eye(len(graph))), 13), atol=1e-12)
        assert num_supported_scales(graph) == 9
        assert np.array_equal(found[9], np.eye(len(graph)))
        distances = shortest_path(graph, unweighted=True)
        assert np.array_equal(hop_distances(graph), np.where(np.isinf(distances), -1, distances))


def test_edges_are_bones():
    common = hand_graph('common')
    assert len(common.edges) == 20 and (0, 5) in common.edges and (7, 8) in common.edges
    assert set(map(frozenset, common.edges)) == names_of_edges(
        'assemblyhands', {n: i for i, n in enumerate(common.joints)}
    )
    assembly = hand_graph('assembly101')
    place = assembly.joints.index
    assert (place('wrist'), place('thumb_mcp')) in assembly.edges  # it lacks the thumb's CMC joint
    assert len(assembly.edges) == 19 and assembly.adjacency[place('palm_center')].sum() == 0
    assert all(len(hand_graph(order).joints) == len(names) for order, names in JOINT_ORDERS.items())


def names_of_edges(order, numbers):
    graph = hand_graph(order)
    return {frozenset(numbers[graph.joints[j]] for j in edge) for edge in graph.edges}


def test_convolutions_in_float64():
    """Sums over neighbours; learned masks are part of the matrices, which layers keep in float32."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 21, dtype=torch.double)
    layer = MultiScaleGraphConv(3, 5, 'common', num_scales=4).double().eval()
    with torch.no_grad():
        layer.aggregation.mask.uniform_(-0.1, 0.1)
        found = layer(x)
    matrices = reference(hand_graph('common').adjacency, 4) + layer.aggregation.mask.detach().numpy()
    weight = layer.mix[0].weight[:, :, 0, 0].detach().numpy().reshape(5, 4, 3)
    expected = sum(np.einsum('oc,vu,nctu->notv', weight[:, k], matrices[k], x) for k in range(4))
    np.testing.assert_allclose(found, np.maximum(expected / np.sqrt(1 + layer.mix[1].eps), 0), atol=1e-6)


@pytest.mark.parametrize('stride', [1, 2])
def test_windows_in_float64(stride):
    torch.manual_seed(0)
    num_frames, window, scales = 5, 3, 3
    x = torch.randn(2, 2, num_frames, 21, dtype=torch.double)
    layer = WindowedGraphConv(2, 4, window, stride, num_scales=scales, hidden_channels=3).double().eval()
    with torch.no_grad():
        layer.aggregation.mask.uniform_(-0.1, 0.1)
        found = layer(x)
    graph = np.tile(hand_graph('common').adjacency + np.eye(21), (window, window))
    matrices = reference(graph * (1 - np.eye(len(graph))), scales) + layer.aggregation.mask.detach().numpy()
    mix = layer.mix[0].weight[:, :, 0, 0].detach().numpy().reshape(3, scales, 2)
    join = layer.join.weight[..., 0].detach().numpy()  # (4, 3, window)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    norm = np.sqrt(1 + layer.norm.eps)
    centres = range(0, num_frames, stride)
    assert found.shape == (2, 4, len(centres), 21)
    for t, centre in enumerate(centres):
        nodes = padded[:, :, centre : centre + window].reshape(2, 2, window * 21)
        mixed = sum(np.einsum('oc,vu,ncu->nov', mix[:, k], matrices[k], nodes) for k in range(scales))
        mixed = np.maximum(mixed / norm, 0).reshape(2, 3, window, 21)
        np.testing.assert_allclose(found[:, :, t], np.einsum('ohw,nhwj->noj', join, mixed) / norm, atol=1e-6)


def test_only_scales_that_the_graph_supports():
    assert MultiScaleGraphConv(3, 4).aggregation.adjacency.shape == (9, 21, 21)
    with pytest.raises(ValueError, match=r'must be 1 to 9, got 13: .*empty_scales=True'):
        MultiScaleGraphConv(3, 4, num_scales=13)
    assert MultiScaleGraphConv(3, 4, num_scales=13, empty_scales=True).aggregation.adjacency.shape == (13, 21, 21)
    with pytest.raises(ValueError, match='must be 1 to 9, got 0'):
        WindowedGraphConv(3, 4, num_scales=0)
    with pytest.raises(ValueError, match='odd number of frames, got 4'):
        WindowedGraphConv(3, 4, window=4)
