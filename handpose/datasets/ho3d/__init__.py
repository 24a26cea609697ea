"""HO3D v2 and v3: reader and file layout."""
