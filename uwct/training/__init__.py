"""Training: photographs, losses, the step, the loop, checkpoints and reports.

`stepping` takes one optimiser's step after another by any loss; `reconstruction`, `autoencoder`, `distillation` and
`bridge` are the losses; `loop` is a run from its first step or its last checkpoint to its end. It imports every room
but `convert` and `cli`.
"""
