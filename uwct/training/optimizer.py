"""The optimisers of training, Adam and Muon, and their learning rate."""

import jax
import optax

from uwct.training.config import TrainConfig


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Adam or Muon, with linear warm-up, then a constant rate or cosine decay to 0.

    Muon (Jordan et al. 2024) orthogonalises matrices, so a kernel `[3, 3, C, D]` is shown to it as one `[9 C, D]`
    matrix (left to itself, optax hands every array that is not a matrix to Adam); biases are Adam's. Momentum is kept
    in float32; the orthogonalisation runs in bfloat16, as its author runs it, unless training is in float32.
    """
    rate = learning_rate(config)
    product_dtype = "float32" if config.dtype == "float32" else "bfloat16"
    if config.optimizer == "adam":
        return optax.adam(rate)
    matrices = optax.contrib.MuonDimensionNumbers((0, 1, 2), 3)
    muon = optax.chain(
        optax.trace(0.95, nesterov=True),
        optax.stateless(lambda updates, _: jax.tree.map(lambda u: u.astype(product_dtype), updates)),
        optax.contrib.muon(
            rate,
            beta=0.0,
            nesterov=False,
            mu_dtype=product_dtype,
            muon_weight_dimension_numbers=lambda kernels: jax.tree.map(lambda _: matrices, kernels),
        ),
    )
    return optax.partition(
        {"kernel": muon, "bias": optax.adam(rate)},
        lambda params: jax.tree.map(lambda p: "kernel" if p.ndim == 4 else "bias", params),
    )


def learning_rate(config: TrainConfig) -> optax.Schedule:
    """The learning rate by step."""
    warmup = min(config.warmup, config.steps - 1)
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, config.steps)
    return optax.schedules.warmup_constant_schedule(
        0.0 if warmup else config.learning_rate, config.learning_rate, warmup
    )
