"""H2O: reader, file layout and labels."""
