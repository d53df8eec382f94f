"""The mathematics: moments of features, and the affine maps between them.

Every transform is a function of two `Moments` that gives an `Affine`. How functions become programs, which networks and
pipeline use too, stands here as well (programs.py). Nothing here knows of pictures or networks, and nothing of uwct is
imported.
"""
