"""What `uwct video` stylizes frames with."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from uwct.cli.encoding import encode_file, encode_files, plain_style
from uwct.cli.masks import read_mask
from uwct.cli.sizes import bytes_per_pixel, check_memory, free_memory
from uwct.cli.video_options import Arguments
from uwct.cli.watching import observer
from uwct.networks.model import Model
from uwct.pipeline.colors import keep_chroma
from uwct.pipeline.frames import Past, follow
from uwct.pipeline.level import Settings
from uwct.pipeline.parts import Parts, Region, resolve
from uwct.pipeline.photo import mapped, reduced, small_shape
from uwct.pipeline.photo_frames import Glance, follow_maps
from uwct.pipeline.presets import Preset
from uwct.pipeline.refine_frames import Stroke, follow_refined
from uwct.transforms.matching import TRANSFORMS
from uwct.transforms.statistics import Moments

Ticket = TypeVar("Ticket")


class State(struct.PyTreeNode):
    """What of the frames before is still needed: of their statistics, of what refining did, and of color maps."""

    past: Past | None = None
    stroke: Stroke | None = None
    glance: Glance | None = None


@dataclasses.dataclass(frozen=True)
class Painter:
    """All that frames are stylized with."""

    model: Model
    vgg: Model | None  # that refines them
    steps: int
    parts: Parts
    settings: Settings
    temporal: float
    batch: int
    chroma: bool
    photographic: bool

    @classmethod
    def of(cls, arguments: Arguments, shape: tuple[int, int], profile: bytes | None, count: int | None) -> "Painter":
        """Of the arguments, for about `count` frames (None: unknown) of (height, width) in a profile's color space.

        Raises ValueError or OSError for what does not fit.
        """
        look = arguments.look.resolve()
        model = arguments.networks.load(look.levels)
        shape = small_shape(shape) if arguments.look.photo else shape
        check_memory(str(arguments.source), "--size", *shape, model.config)
        batch = arguments.batch or (1 if jax.default_backend() == "cpu" else 8)
        fitting = int(free_memory() / (shape[0] * shape[1] * bytes_per_pixel(model.config)))
        vgg = observer(arguments.refining, model.dtype)
        regions = regions_of(arguments, look, model, vgg, shape, profile)
        parts = resolve(model, regions, look.levels, look.alpha)
        return cls(
            model,
            vgg,
            arguments.refining.steps,
            parts,
            Settings(look.levels, look.shrinkage, TRANSFORMS[look.transform]),
            arguments.temporal,
            max(1, min(batch, fitting, count or batch)),
            arguments.keep_colors is not None,
            arguments.look.photo,
        )

    def paint(
        self, frames: Iterable[tuple[np.ndarray, Ticket]], state: State
    ) -> Iterator[tuple[np.ndarray, Ticket, State | None]]:
        """Each frame stylized, with what came beside it, and with the last of a batch the state after it."""
        waiting: deque[tuple[np.ndarray, np.ndarray, Ticket]] = deque()

        def alone() -> Iterator[np.ndarray]:
            for frame, ticket in frames:
                small = np.asarray(reduced(jnp.asarray(frame))) if self.photographic else frame
                waiting.append((small, frame, ticket))
                yield small

        glance = state.glance
        walk = follow(
            self.model, alone(), self.parts, self.settings, state.past, temporal=self.temporal, batch=self.batch
        )
        for rgb, past, stroke in self._refined(walk, waiting, state.stroke):
            small, frame, ticket = waiting.popleft()
            colors = np.asarray(keep_chroma(jnp.asarray(rgb), jnp.asarray(small[..., :3]))) if self.chroma else rgb
            if self.photographic:
                maps, glance = follow_maps(jnp.asarray(small), jnp.asarray(colors), glance, self.temporal)
                colors = np.asarray(mapped(jnp.asarray(frame[..., :3]), maps))
            pixels = np.concatenate([colors, frame[..., 3:]], axis=-1)
            yield pixels, ticket, None if past is None else State(past, stroke, glance)

    def _refined(
        self, walk: Iterator[tuple[np.ndarray, Past | None]], waiting: deque[Any], stroke: Stroke | None
    ) -> Iterator[tuple[np.ndarray, Past | None, Stroke | None]]:
        """What the walk gives, refined if it is to be; the first of those that wait is the frame that it is of."""
        if not self.vgg:
            yield from ((rgb, past, None) for rgb, past in walk)
            return
        pasts: deque[Past | None] = deque()

        def pairs() -> Iterator[tuple[Array, Array]]:
            for rgb, past in walk:
                pasts.append(past)
                yield jnp.asarray(waiting[0][0]), jnp.asarray(rgb)

        levels = self.settings.levels
        for refined, last in follow_refined(self.vgg, pairs(), self.parts, levels, self.steps, stroke):
            yield np.asarray(refined), pasts.popleft(), last

    def state_of(self, arrays: list[np.ndarray]) -> State:
        """The state whose leaves these are, in their order; raises ValueError for another number of them."""
        parts = [Moments(0, 0, 0)] * len(self.parts.all)  # type: ignore[arg-type]
        past = Past(0, tuple(parts for _ in self.settings.levels))  # type: ignore[arg-type]
        glance = Glance(0, Moments(0, 0, 0)) if self.photographic else None  # type: ignore[arg-type]
        like = State(past, Stroke(0, 0) if self.vgg else None, glance)  # type: ignore[arg-type]
        return jax.tree.unflatten(jax.tree.structure(like), arrays)


def regions_of(
    arguments: Arguments, look: Preset, model: Model, vgg: Model | None, shape: tuple[int, int], profile: bytes | None
) -> list[Region]:
    """What is asked of which part of frames of (height, width), in a color space: masks lie over all of them."""
    regions = []
    how: Any = {"vgg": vgg, "profile": profile, "levels": look.levels}
    for files, factor in zip(arguments.regions.files, arguments.regions.factors, strict=True):
        styles = [encode_file(path, model, look.style_size, **how) for path in files.styles]
        mask = jnp.asarray(read_mask(files.mask, shape, files.color))
        alpha = [factor * alpha for alpha in look.alpha]
        regions.append(Region(mask, styles, files.weights if styles else None, alpha))
    styles = encode_files(arguments.styles, arguments.styles.paths, model, look.style_size, **how)
    if look.transform == "whiten" and not styles:
        styles = [plain_style(model)]
    return [*regions, Region(None, styles, arguments.styles.mixtures())]
