"""Exports of predictions: to Blender, spreadsheets, annotation tools, viewers and robots; see docs/guides/export.md.

Packages that only one format needs are imported by its writer when it runs.
"""

from handpose.export.drawing import to_supervision
from handpose.export.formats import TARGETS, WRITERS, export
from handpose.export.source import ExportError, ExportReport, ExportSource

__all__ = ['TARGETS', 'WRITERS', 'ExportError', 'ExportReport', 'ExportSource', 'export', 'to_supervision']
