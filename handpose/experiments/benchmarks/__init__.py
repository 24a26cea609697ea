"""The benchmarks of `handpose benchmark`; what they measure is in `cases/`, one file per topic."""
