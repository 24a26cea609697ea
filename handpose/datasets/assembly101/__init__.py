"""Assembly101: reader and file layout."""
