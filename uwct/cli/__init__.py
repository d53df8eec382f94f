"""The commands, one file each: the only place that parses arguments, prints, or sets `jax.config`.

Options that commands share (look, styles, regions, refining, saving, limits) import no JAX,
for which help would wait.
"""
