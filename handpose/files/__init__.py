"""Reading untrusted files safely, and writing files atomically."""
