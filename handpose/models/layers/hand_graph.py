"""Graphs of the joints of a hand, and their multi-scale adjacency matrices (MS-G3D: Liu et al., CVPR 2020).

Matrices are NumPy arrays, so that a network can be built on any default device.

Legend: J joints, N nodes of a graph, K scales, W frames of a window.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handpose.hands import COMMON_JOINTS, PARENTS_21
from handpose.hands.joints import joint_order

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class HandGraph:
    """The joints of one hand and the bones between them; two hands are two copies without edges between them.

    Attributes:
        joints: names of the J nodes.
        edges: pairs of connected nodes.
    """

    joints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    @property
    def adjacency(self) -> Matrix:
        """(J, J), 1 for connected joints and 0 elsewhere, the diagonal included."""
        matrix = np.zeros((len(self.joints), len(self.joints)))
        for a, b in self.edges:
            matrix[a, b] = matrix[b, a] = 1
        return matrix


def hand_graph(order_name: str = 'common') -> HandGraph:
    """Builds the graph of a hand in a joint order.

    Every joint is connected to the next one towards the wrist that the order has: in Assembly101's, which lacks the
    thumb's CMC joint, the thumb's MCP joint is connected to the wrist. Points that are not among the common 21 joints,
    such as a palm centre, have no edges.

    Args:
        order_name: a key of `handpose.hands.JOINT_ORDERS`.

    Returns:
        The graph, its nodes in the order of the dataset.

    Raises:
        KeyError: the order is unknown.
    """
    order = joint_order(order_name)
    edges = []
    for j, name in enumerate(order):
        parent = PARENTS_21[COMMON_JOINTS.index(name)] if name in COMMON_JOINTS else -1
        while parent >= 0 and COMMON_JOINTS[parent] not in order:
            parent = PARENTS_21[parent]
        if parent >= 0:
            edges.append((order.index(COMMON_JOINTS[parent]), j))
    return HandGraph(order, tuple(edges))


def hop_distances(adjacency: Matrix) -> NDArray[np.int64]:
    """Counts the edges on the shortest path between any two nodes.

    Args:
        adjacency: (N, N) symmetric; nodes are connected where it is not zero. The diagonal does not count.

    Returns:
        (N, N); -1 where there is no path.
    """
    step = _with_self_loops(adjacency)
    reached = np.eye(len(adjacency))
    distances = np.where(reached > 0, 0, -1)
    for hops in range(1, len(adjacency)):
        reached = ((reached @ step) > 0).astype(np.float64)
        new = (reached > 0) & (distances < 0)
        if not new.any():
            break
        distances[new] = hops
    return distances


def num_supported_scales(adjacency: Matrix) -> int:
    """Counts the scales for which a graph has pairs of nodes: its longest shortest path + 1.

    Args:
        adjacency: (N, N), as in `hop_distances`.

    Returns:
        9 for the common 21 joints of a hand, whose fingertips are 8 edges apart.
    """
    return int(hop_distances(adjacency).max()) + 1


def multi_scale_adjacency(adjacency: Matrix, num_scales: int) -> Matrix:
    """Computes the disentangled, normalized adjacency matrices of MS-G3D (Liu et al., section 3.2).

    Matrix k connects every node to itself and to the nodes exactly k edges away, and is D^-1/2 A D^-1/2 with the
    degrees D. No degree is 0, so isolated nodes cause no division by 0. From `num_supported_scales` on, matrices are
    the identity.

    Args:
        adjacency: (N, N), as in `hop_distances`.
        num_scales: K.

    Returns:
        (K, N, N); matrix 0 is the identity.
    """
    distances = hop_distances(adjacency)
    connected = np.stack([_with_self_loops(distances == k) for k in range(num_scales)])
    scale = connected.sum(-1) ** -0.5
    return scale[:, :, None] * connected * scale[:, None, :]


def window_adjacency(adjacency: Matrix, window: int) -> Matrix:
    """Connects the frames of a window (Liu et al., section 3.3): a node to itself and its neighbours in each of them.

    Args:
        adjacency: (N, N), as in `hop_distances`.
        window: W.

    Returns:
        (W N, W N), frame after frame.
    """
    return np.tile(_with_self_loops(adjacency), (window, window))


def _with_self_loops(adjacency: NDArray) -> Matrix:
    """1 where nodes are connected and on the diagonal, 0 elsewhere."""
    return ((adjacency != 0) | np.eye(len(adjacency), dtype=bool)).astype(np.float64)
