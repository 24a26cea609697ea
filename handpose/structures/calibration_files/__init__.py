"""Files of calibrated cameras: one module for each format, and how a format is recognized."""
