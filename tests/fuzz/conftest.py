import sys
from pathlib import Path

# The writers of tiny datasets and hand models that other tests use.
sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ('datasets', 'hands')]
