"""A node of ComfyUI that paints pictures in the manner of others; README.md beside this file says how to add it.

Contract, which is ComfyUI's: pictures are float32 tensors `[B, H, W, 3]` in [0, 1], masks `[B, H, W]` in [0, 1].
"""

import functools
import os

import torch

# JAX would take most of the GPU's memory for itself, of which ComfyUI needs the most.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax.numpy as jnp
import numpy as np

import uwct
from uwct.pictures import images
from uwct.pipeline.presets import PRESETS
from uwct.transforms.matching import TRANSFORMS

load = functools.cache(uwct.load)


class Stylize:
    """Photos in the manner of a style; several styles, a batch of pictures, are mixed."""

    CATEGORY = "image/style"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "stylize"
    DESCRIPTION = "Paints photos in the manner of any picture, without a prompt and without training per style."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, tuple[object, ...]]]:
        """What goes in, as ComfyUI wants it described."""
        return {
            "required": {
                "image": ("IMAGE",),
                "style": ("IMAGE",),
                "preset": (list(PRESETS), {"default": "paint"}),
                "strength": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05}),
            },
            "optional": {"mask": ("MASK", {"tooltip": "White gets the style, black stays as it is."})},
        }

    def stylize(
        self,
        image: torch.Tensor,
        style: torch.Tensor,
        preset: str,
        strength: float,
        mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor]:
        """Each picture painted; `strength` multiplies the preset's, a mask of any size says where.

        Raises ValueError for masks of another number than one or that of the pictures.
        """
        model, look = load(), PRESETS[preset]
        styles = [uwct.encode_style(model, sized(picture, look.style_size)) for picture in style]
        settings = {
            "levels": look.levels,
            "alpha": [strength * alpha for alpha in look.alpha],
            "transform": TRANSFORMS[look.transform],
            "shrinkage": look.shrinkage,
        }
        painted = []
        for photo, where in zip(image, masks_of(mask, image), strict=True):
            wanted = styles if where is None else [uwct.Region(jnp.asarray(where), styles)]
            painted.append(np.asarray(uwct.stylize(model, as_array(photo), wanted, **settings)))
        return (torch.from_numpy(np.stack(painted)).clamp(0, 1),)


def as_array(picture: torch.Tensor) -> np.ndarray:
    """The colors of a picture `[H, W, 3]` or, with alpha, `[H, W, 4]`."""
    return picture[..., :3].float().cpu().numpy()


def sized(picture: torch.Tensor, long_side: int) -> np.ndarray:
    """A style at the size that the presets were chosen for."""
    rgb = as_array(picture)
    return images.resize(images.Picture(rgb), images.fitted(rgb.shape[:2], long_side)).rgb


def masks_of(mask: torch.Tensor | None, image: torch.Tensor) -> list[np.ndarray] | list[None]:
    """A mask for each picture, in its size, or None for each."""
    count, *shape = image.shape[:3]
    if mask is None:
        return [None] * count
    if len(mask) not in (1, count):
        raise ValueError(f"there must be one mask, or one for each of {count} images, not {len(mask)}")
    fitting = torch.nn.functional.interpolate(mask[:, None].float(), size=shape, mode="bilinear")[:, 0]
    return list(fitting.expand(count, *shape).cpu().numpy())


NODE_CLASS_MAPPINGS = {"uwct.Stylize": Stylize}
NODE_DISPLAY_NAME_MAPPINGS = {"uwct.Stylize": "Paint in the manner of a picture (uwct)"}
