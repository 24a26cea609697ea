"""How hands and objects move: trajectories, gestures, grasps, grips, and scripted actions."""
