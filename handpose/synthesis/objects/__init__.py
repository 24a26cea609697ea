"""Procedural objects: shapes with analytic signed distances and meshes, their textures, and three sets of objects.

`graspable` draws objects of DexYCB's classes, `household` those of the egocentric actions, `ycb` stands in for the
objects of DexYCB's recordings.
"""
