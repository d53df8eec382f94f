"""A deep decoder from the next shallower one: learn the bridge between their features first, then join.

The pixels and the deepest features say little about what the first layers of a deep decoder should do. Those layers
alone, with one linear map behind them, can be taught directly to give relu_(X-1)_1 from relu_X_1; no picture is decoded
or encoded again, so a step costs a third. The trained decoder X-1 then takes over, and since its first layer is linear
in those features, the map folds into it: the joined network has exactly the form of decoder X.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from uwct.networks.model import Model, decoder_module
from uwct.training.losses import squared_error


def init_bridge(decoder: Any, model: Model, level: int, key: Array) -> Any:
    """The bridge's parameters: the first layers of a fresh decoder of the level, and a random linear map."""
    top = {name: layer for name, layer in decoder.items() if name > f"conv{level - 1}_1"}
    width = top[f"conv{level - 1}_2"]["bias"].shape[0]
    channels = model.config.blocks[level - 2][0]
    map_kernel = jax.random.normal(key, (1, 1, width, channels)) / width**0.5
    return {"top": top, "map": {"kernel": map_kernel, "bias": jnp.zeros(channels)}}


def bridge_loss(bridge: Any, model: Model, pictures: Array, *, level: int) -> tuple[Array, dict[str, Array]]:
    """The squared error of relu_(level-1)_1 over its variance, for pictures `[N, H, W, 3]`, as `loss`."""
    *_, target, features = model.encode(pictures, level)
    decoder = decoder_module(model.config, level, model.dtype)
    hidden = decoder.apply({"params": bridge["top"]}, features, stop=f"conv{level - 1}_1")
    prediction = jnp.asarray(hidden) @ bridge["map"]["kernel"][0, 0] + bridge["map"]["bias"]
    loss = squared_error(prediction, jax.lax.stop_gradient(target)).mean() / model.config.variances[level - 1]
    return loss, {"loss": loss}


def join(bridge: Any, shallow: Any, level: int) -> Any:
    """The decoder of a level from its trained bridge and decoder level - 1: K (M x + m) + k = (K M) x + (K m + k)."""
    name = f"conv{level - 1}_1"
    kernel, bias = shallow[name]["kernel"], shallow[name]["bias"]
    folded = {
        "kernel": jnp.einsum("xc,hwcd->hwxd", bridge["map"]["kernel"][0, 0], kernel),
        "bias": bias + jnp.einsum("c,hwcd->d", bridge["map"]["bias"], kernel),
    }
    return {**shallow, **bridge["top"], name: folded}
