"""The sweeps of `handpose benchmark --scaling`."""
