"""Annotating the hands of a calibrated recording of several cameras: `handpose annotate`; docs/guides/annotate.md."""
