"""Re:InterHand: reader and file layout."""
