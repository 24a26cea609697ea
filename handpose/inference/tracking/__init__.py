"""Finding hands in images and following them from frame to frame."""
