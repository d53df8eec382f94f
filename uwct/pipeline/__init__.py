"""The pipeline: pictures take on statistics of styles, level by level, coarse to fine (Li et al. 2017, section 3.3).

`level` is what happens to the pixels at one level, in two halves: *gather* the moments of each part of a picture, then
*apply* the map that follows from them. Who walks over the pixels between the halves differs: `whole` has one picture,
or a batch, in memory; `windows` a picture on disk; `frames` a clip, whose moments are smoothed over time. `parts` says
what is asked of which pixels, `styles` what a style is; `textures`, `augment`, `compat`, `swap` and `colors` are made
of these. The rooms behind this one: transforms, networks and pictures.
"""
