"""Ablation tables: reading a table (`table`), training and testing its runs (`runs`), and the report (`report`)."""

from handpose.experiments.ablation.report import write_report
from handpose.experiments.ablation.runs import Workers, is_tested, is_trained
from handpose.experiments.ablation.table import (
    AblationTable,
    Run,
    RunSettings,
    TableError,
    check_runs,
    list_runs,
    option_strings,
    read_table,
)

__all__ = [
    'AblationTable',
    'Run',
    'RunSettings',
    'TableError',
    'Workers',
    'check_runs',
    'is_tested',
    'is_trained',
    'list_runs',
    'option_strings',
    'read_table',
    'write_report',
]
