"""Where scenes come from: grasps, hands alone, scripted egocentric actions, and recorded motion."""
