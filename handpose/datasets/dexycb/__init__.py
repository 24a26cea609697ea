"""DexYCB: reader, file layout, index and splits."""
