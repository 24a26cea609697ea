"""Motion files of recordings: from DexYCB, and with hand parameters fitted to the joints."""
