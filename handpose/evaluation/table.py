"""A table of several models' numbers side by side."""

MAIN_ROWS = (
    'action_accuracy',
    'action_accuracy_per_class',
    'action_accuracy_top5',
    'pair_accuracy',
    'action_accuracy/pairs',
    'verb_accuracy',
    'object_accuracy',
    'num_videos',
    'pa_mpjpe_mm',
    'pa_mpjpe_rotation_mm',
    'mpjpe_ra_wrist_mm',
    'mpjpe_ra_wrist_20_joints_mm',
    'mpjpe_ra_wrist_bone_scaled_mm',
    'mpjpe_ra_wrist_42_joints_mm',
    'mpjpe_ra_wrist_42_joints_mm/single',
    'mpjpe_ra_wrist_42_joints_mm/interacting',
    'mrrpe_mm',
    'handedness_accuracy',
    'mpjpe_cam_mm',
    'mpjpe_cam_mm/left',
    'mpjpe_cam_mm/right',
    'mpjpe_ra_wrist_20_joints_mm/left',
    'mpjpe_ra_wrist_20_joints_mm/right',
    'auc_cam_0_80mm',
    'auc_cam_0_90mm/left',
    'auc_cam_0_90mm/right',
    'auc_ra_wrist_20_joints_0_50mm',
    'auc_ra_wrist_20_joints_0_50mm/left',
    'auc_ra_wrist_20_joints_0_50mm/right',
    'auc_pa_0_50mm',
    'auc_ra_wrist_0_50mm',
    'auc_cam_0_50mm',
    'accel_error_mm_per_frame2',
    'accel_error_cam_mm_per_frame2',
    'pa_mpvpe_mm',
    'mpvpe_ra_wrist_mm',
    'mpvpe_ra_wrist_bone_scaled_mm',
    'pa_f_score_5mm',
    'pa_f_score_15mm',
    'pa_mpjpe_mm/occlusion_0_25',
    'pa_mpjpe_mm/occlusion_25_50',
    'pa_mpjpe_mm/occlusion_50_75',
    'pa_mpjpe_mm/occlusion_75_100',
    'pa_mpjpe_mm/left',
    'pa_mpjpe_mm/right',
    'num_samples',
    'num_missing',
    'num_missing_joints',
)


def metrics_table(results, rows=MAIN_ROWS):
    """Writes one column a model and one row a number as a Markdown table that is aligned as plain text too.

    Args:
        results: {model name: {metric name: float}}.
        rows: metric names, in order; a row that no model has is left out, a number that a model lacks shows as '-'.

    Returns:
        str, without a line break at the end.

    Raises:
        ValueError: no results, or none of the rows in any.
    """
    rows = [row for row in rows if any(row in numbers for numbers in results.values())]
    if not rows:
        raise ValueError(f'metrics_table got none of its rows in the results of {list(results)}')
    cells = [['metric', *results]]
    cells += [[row, *(_cell(row, numbers.get(row)) for numbers in results.values())] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = [widths[0] * '-'] + [(width - 1) * '-' + ':' for width in widths[1:]]
    return '\n'.join(_line(line, widths) for line in (cells[0], rule, *cells[1:]))


def _cell(row, value):
    if value is None:
        return '-'
    if row.startswith('num_'):
        return f'{value:.0f}'
    return f'{value:.2f}' if '_mm' in row and not _is_share(row) else f'{value:.4f}'


def _is_share(row):
    return row.startswith(('auc_', 'pck_')) or 'f_score' in row


def _line(cells, widths):
    first, *rest = (
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return '| ' + ' | '.join([first, *rest]) + ' |'
