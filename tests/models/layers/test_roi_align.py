import math

import pytest
import torch

from handpose.models import roi_align


def reference(features, boxes, output_size, scale, sampling_ratio, aligned):
    """The definition, one sample at a time."""
    _, channels, height, width = features.shape
    o, p = output_size
    out = torch.zeros(len(boxes), channels, o, p, dtype=features.dtype)
    for n, box in enumerate((boxes * scale - 0.5 * aligned).tolist()):
        box_width, box_height = box[2] - box[0], box[3] - box[1]
        if not aligned:
            box_width, box_height = max(box_width, 1), max(box_height, 1)
        rows = sampling_ratio if sampling_ratio > 0 else max(math.ceil(box_height / o), 1)
        columns = sampling_ratio if sampling_ratio > 0 else max(math.ceil(box_width / p), 1)
        for i in range(o):
            for j in range(p):
                for a in range(rows):
                    for b in range(columns):
                        y = box[1] + (i + (a + 0.5) / rows) * box_height / o
                        x = box[0] + (j + (b + 0.5) / columns) * box_width / p
                        if not (-1 <= y <= height and -1 <= x <= width):
                            continue
                        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                        y0, x0 = int(y), int(x)
                        y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                        top = features[n, :, y0, x0] * (1 - x + x0) + features[n, :, y0, x1] * (x - x0)
                        bottom = features[n, :, y1, x0] * (1 - x + x0) + features[n, :, y1, x1] * (x - x0)
                        out[n, :, i, j] += (top * (1 - y + y0) + bottom * (y - y0)) / (rows * columns)
    return out


BOXES = torch.tensor(
    [[3.0, 5.0, 21.0, 30.0], [-9.0, -30.0, 20.0, 11.0], [10.2, 9.1, 10.9, 9.3], [-40.0, 2.0, 90.0, 60.0]],
    dtype=torch.float64,
)


@pytest.mark.parametrize('aligned', [False, True])
@pytest.mark.parametrize('sampling_ratio', [-1, 1, 2])
def test_equals_the_loop(sampling_ratio, aligned):
    features = torch.randn(4, 2, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = roi_align(features, BOXES, (3, 4), 0.25, sampling_ratio, aligned)
    expected = reference(features, BOXES, (3, 4), 0.25, sampling_ratio, aligned)
    torch.testing.assert_close(out, expected, atol=1e-13, rtol=0)


def test_several_boxes_a_map():
    features = torch.randn(2, 3, 8, 8)
    boxes = torch.rand(2, 3, 4) * 10 + torch.tensor([0.0, 0, 12, 12])
    out = roi_align(features, boxes, 4, 0.25, 2)
    assert out.shape == (2, 3, 3, 4, 4)
    for m in range(3):
        torch.testing.assert_close(out[:, m], roi_align(features, boxes[:, m], 4, 0.25, 2))


def test_gradients():
    features = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[1.3, 2.1, 17.7, 15.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, b: roi_align(f, b, 3, 0.25, 2), (features, boxes))


def test_positions_stay_in_float32_under_autocast():
    # Bfloat16 cannot tell 1001 from 1003 pixels.
    ramp = torch.arange(300.0).expand(1, 1, 300, 300)
    boxes = torch.tensor([[1001.0, 8.0, 1003.0, 40.0]])
    with torch.autocast('cpu', torch.bfloat16):
        out = roi_align(ramp, boxes, (1, 1), 0.25, 1, aligned=True)
    assert out.item() == pytest.approx(250.0, abs=1e-3)


@pytest.mark.parametrize(
    ('boxes', 'ratio', 'match'),
    [
        (torch.zeros(3, 4), 1, r'\(2, 4\)'),
        (torch.zeros(2, 5), 1, 'shape'),
        (torch.zeros(2, 4), 0, 'sampling_ratio'),
    ],
)
def test_errors(boxes, ratio, match):
    with pytest.raises(ValueError, match=match):
        roi_align(torch.zeros(2, 1, 4, 4), boxes, 2, 1.0, ratio)
