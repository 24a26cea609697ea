"""FPHA: reader, file layout and labels."""
