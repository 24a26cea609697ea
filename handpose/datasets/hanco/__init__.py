"""HanCo: reader and file layout."""
