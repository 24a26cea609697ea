"""AssemblyHands (Ohkawa et al., CVPR 2023) in its official layout."""
