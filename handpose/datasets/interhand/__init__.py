"""InterHand2.6M: reader and file layout."""
