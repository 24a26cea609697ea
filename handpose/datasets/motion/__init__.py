"""Motion files: recorded hand motion of any origin in one `.npz`."""
