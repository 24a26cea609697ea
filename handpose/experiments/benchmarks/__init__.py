"""What `tools/benchmark.py` is made of; what it measures is in `cases/`, one file per idea."""
