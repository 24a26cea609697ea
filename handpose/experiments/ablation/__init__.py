"""Ablation tables: reading a table (`table`), doing its runs (`runs`), and writing what came out (`report`)."""

from handpose.experiments.ablation.report import write_report
from handpose.experiments.ablation.runs import Workers, is_tested, is_trained
from handpose.experiments.ablation.table import TableError, check_runs, list_runs, option_words, read_table

__all__ = [
    'TableError',
    'Workers',
    'check_runs',
    'is_tested',
    'is_trained',
    'list_runs',
    'option_words',
    'read_table',
    'write_report',
]
