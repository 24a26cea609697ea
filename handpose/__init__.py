"""Hand pose in video: parts, systems, data and metrics behind one data contract."""

__version__ = '0.1.0'
