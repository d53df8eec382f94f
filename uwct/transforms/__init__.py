"""The mathematics: moments of features, and the affine maps between them.

Every transform is a function of two `Moments` that gives an `Affine`. Nothing here knows of pictures or networks, and
nothing of uwct is imported.
"""
