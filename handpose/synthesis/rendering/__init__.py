"""Drawing scenes: their appearance, the bodies in them, and the two renderers, for still and for moving cameras."""
