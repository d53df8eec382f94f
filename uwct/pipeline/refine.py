"""Refinement: a stylized picture is itself moved, step by step, until VGG-16 sees the style in it.

No feed-forward network paints brushwork as sharply as gradient descent on the picture (Gatys et al., CVPR 2016). From
the stylized picture the way is shorter than from the photo. With I the picture, Is the style, Ic the photo, alpha_X the
strength of level X and alpha their mean, a step lowers

    1/n sum over X of alpha_X style_X(I, Is) + colors(I, Is) + nu (1 - alpha) content(I, Ic)

`manner.py` says what the first two are. The content is held by the direction of a pixel's features: light and contrast
may change, shapes may not. Coarse scales come first: there a step reaches further, and takes less time.

All of it is a function of sums over pixels. So its gradient over windows is exact (see `refine_windows.py`): a first
pass adds up `see`, whose sums `loss_of` takes; a second takes the derivative of `see` along that of `loss_of`.

Contract: that of `whole`, for one picture `[H, W, 3]`. `vgg` is the encoder of `model.backbone("vgg16")`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import Array

from uwct.networks.border import Padding
from uwct.networks.config import stride
from uwct.networks.model import Model
from uwct.pipeline.level import COARSE_TO_FINE
from uwct.pipeline.manner import SCALES, Manner, doubled, halved, manner_distance, manners, mix_manners
from uwct.pipeline.padding import pad_to, pool
from uwct.pipeline.parts import Part, Parts, Region, Strength, Wanted, Weights, resolve, shares_of
from uwct.pipeline.presets import REFINE_STEPS
from uwct.pipeline.styles import Style, check_mask, check_picture, encode_style
from uwct.pipeline.whole import finished
from uwct.transforms.programs import as_shapes, expecting, quick_jit

SHARES = {1: 0.5, 0: 0.5}  # of the steps, for each of `SCALES`
SHAPES = (2, 3, 4)  # the levels whose features say what a photograph shows
CONTENT = 0.5  # nu
EXCESS = 10.0  # weight of the mean square by which colors leave [0, 1]
RATE = 0.006  # of Adam, in units of the full range
AVERAGE = 0.8  # decay of the average of the last pictures, which is the result: it has less grain than the last
# Of gradients times the number of pixels, most of which are 10 to 100: where they are noise, pixels stay.
ADAM = optax.scale_by_adam(b1=0.9, b2=0.99, eps=3.0)


class Goal(struct.PyTreeNode):
    """What a picture is refined towards, at one scale; its lists have one entry a part.

    Attributes:
      wanted: the manners; None for parts that keep the photo's pixels.
      alphas: `{level: strength}`.
      shares: `[H, W]`, how far every pixel counts, 0 in padding, or None for all of it.
      photo: `[H, W, 3]`, or None where there is none.
    """

    wanted: list[Manner | None]
    alphas: list[dict[int, Array]]
    shares: list[Array | None]
    photo: Array | None


Goals = dict[int, Callable[..., Goal]]  # by halvings; they lack shares and photo


class Seen(struct.PyTreeNode):
    """Sums over a picture's pixels: the manners of its parts, how far its shapes are off, how far colors are too."""

    manners: list[Manner]
    content: Array
    excess: Array


class Step(NamedTuple):
    """A step that is done: its number of how many, the loss before it, and what makes the picture after it."""

    number: int
    total: int
    loss: Array
    picture: Callable[[], Any]


def refine(
    model: Model,
    vgg: Model,
    picture: Array,
    content: Array,
    style: Wanted,
    levels: Sequence[int] = COARSE_TO_FINE,
    alpha: Strength = 0.6,
    *,
    weights: Weights | None = None,
    steps: int = REFINE_STEPS,
) -> Array:
    """What `whole.stylize` made of a content `[H, W, 3]`, refined: float32 and not clipped.

    Args:
      model: that of `stylize`; style, levels, alpha and weights are those that it was given, too.
      vgg: the encoder of `model.backbone("vgg16")`.
      style: as in `stylize`; a `Style` must have manners (`with_manners`).
      alpha: the balance: at 0 only the content's shapes count, at 1 only the style.
      steps: of gradient descent; more come nearer to the style.

    Raises:
      ValueError: what `stylize` raises, a style without manners, pictures of two shapes.
      FloatingPointError: a loss that is not finite (not checked under `jit`).
    """
    check_picture(content)
    parts = resolve(model, _encoded(model, vgg, style), levels, alpha, weights)
    return finished(refined(vgg, picture, content, parts, levels, steps), content, parts)


def _encoded(model: Model, vgg: Model, style: Any) -> Any:
    """The same with style pictures encoded, and with manners."""
    if isinstance(style, Style):
        return style
    if isinstance(style, Region):
        return style.replace(style=_encoded(model, vgg, style.style))
    if isinstance(style, Sequence):
        return [_encoded(model, vgg, one) for one in style]
    return with_manners(encode_style(model, style), vgg, style)


def refined(
    vgg: Model,
    picture: Array,
    content: Array | None,
    parts: Parts,
    levels: Sequence[int],
    steps: int = REFINE_STEPS,
    *,
    padding: Padding = "reflect",
) -> Array:
    """The picture after the last of `refinements`; raises FloatingPointError for a loss that is not finite."""
    for step in refinements(vgg, picture, content, parts, levels, steps, padding=padding):
        last = step
    check_loss(last)
    return last.picture()


def refinements(
    vgg: Model,
    picture: Array,
    content: Array | None,
    parts: Parts,
    levels: Sequence[int],
    steps: int = REFINE_STEPS,
    *,
    padding: Padding = "reflect",
) -> Iterator[Step]:
    """Every step towards the styles of parts, when it is done; `padding` is that of `whole.stylize`.

    Without a content (textures) nothing holds the shapes. Raises ValueError for styles without manners.
    """
    check_picture(picture)
    if jnp.ndim(picture) != 3:
        raise ValueError(f"one picture [H, W, 3] is refined, not an array of shape {jnp.shape(picture)}")
    for mask in parts.masks:
        check_mask(jnp.shape(mask), jnp.shape(picture)[:2])
    if content is not None and jnp.shape(content) != jnp.shape(picture):
        raise ValueError(f"picture and content must have one shape, not {jnp.shape(picture)} and {jnp.shape(content)}")
    height, width, _ = picture.shape
    plan = schedule(steps, (height, width), padding)
    unit = 1 if padding == "wrap" else stride(5) << max(plan)
    now = pad_to(jnp.asarray(picture, jnp.float32), unit)[0]
    photo = None if content is None else pad_to(jnp.asarray(content, jnp.float32), unit)[0]
    shares = padded_shares(parts, (height, width), unit)
    goals: Goals = {halvings: partial(Goal, *wanted(vgg, parts, levels, halvings)) for halvings in plan}
    given = vgg, now, photo, shares, goals
    found = _steps(*given, plan, (height, width), padding)
    with expecting(partial(_foreseen, *given, padding)):
        first = next(found)
    yield first
    yield from found


def _steps(
    vgg: Model,
    now: Array,
    photo: Array | None,
    shares: list[Array | None],
    goals: Goals,
    plan: dict[int, int],
    shape: tuple[int, int],
    padding: Padding,
) -> Iterator[Step]:
    """`refinements` of a padded picture, in as many steps at each scale as planned; results are cut to a shape."""
    number, steps = 0, sum(plan.values())
    for halvings, count in plan.items():
        start = at(halvings, now)
        goal = goals[halvings](*at(halvings, (shares, photo)))
        for loss, last in descend(vgg, start, goal, count, padding):
            number += 1
            result = partial(_changed, now, start, last, halvings=halvings, padding=padding)
            yield Step(number, steps, loss, partial(result, *shape))
        if number < steps:
            now = result(*now.shape[:2])


def _foreseen(vgg: Model, now: Any, photo: Any, shares: Any, goals: Goals, padding: Padding) -> None:
    """Goes the way of `_steps` with shapes, for `expecting`."""
    now, photo, shares = as_shapes((now, photo, shares))
    for halvings, goal in goals.items():
        next(descend(vgg, at(halvings, now), goal(*at(halvings, (shares, photo))), 1, padding))


def schedule(steps: int, shape: tuple[int, int], padding: Padding) -> dict[int, int]:
    """How many steps at each number of halvings, from coarse to fine; without seams, only where sides can be halved."""
    if steps < 1:
        raise ValueError(f"refining takes at least 1 step, not {steps}")
    halvings = [h for h in SCALES if padding != "wrap" or not any(side % (stride(SHAPES[-1]) << h) for side in shape)]
    if not halvings:
        raise ValueError(f"without seams, sides to refine must be multiples of {stride(SHAPES[-1])}, not {shape}")
    counts = {h: round(steps * SHARES[h]) for h in halvings[:-1]}
    counts[halvings[-1]] = steps - sum(counts.values())
    return {h: count for h, count in counts.items() if count}


def padded_shares(parts: Parts, shape: tuple[int, int], unit: int) -> list[Array | None]:
    """How far every pixel counts for each part, 0 in the padding; None for all of a picture without any."""
    empty: Any = np.zeros((*shape, 1), np.float32)
    pixels = pad_to(empty, unit)[1]
    if parts.visible is not None:
        visible = pad_to(jnp.asarray(parts.visible)[..., None], unit)[0][..., 0]
        pixels = visible if pixels is None else pixels * visible
    shares = [None if s is None else pad_to(s[..., None], unit)[0][..., 0] for s in shares_of(parts.masks)]
    return [pixels if s is None else s if pixels is None else s * pixels for s in shares]


def at(halvings: int, arrays: Any) -> Any:
    """Arrays `[H, W]` and `[H, W, C]` of a tree at a coarser scale."""
    return _coarser(arrays, halvings) if halvings else arrays


@quick_jit("halvings")
def _coarser(arrays: Any, halvings: int) -> Any:
    def one(x: Array) -> Array:
        for _ in range(halvings):
            x = halved(x) if x.ndim == 3 else halved(x[..., None])[..., 0]
        return x

    return jax.tree.map(one, arrays)


@quick_jit("halvings", "padding", "height", "width")
def _changed(
    now: Array, start: Array, last: Array, height: int, width: int, *, halvings: int, padding: Padding
) -> Array:
    """The upper left of a picture with what changed from `start` to `last`, at a coarser scale."""
    return (now + enlarged(halvings, last - start, padding))[:height, :width]


def enlarged(halvings: int, change: Array, padding: Padding) -> Array:
    """What a change at a coarser scale is at the full one."""
    for _ in range(halvings):
        change = doubled(change, padding)
    return change


def wanted(
    vgg: Model, parts: Parts, levels: Sequence[int], halvings: int
) -> tuple[list[Manner | None], list[dict[int, Array]]]:
    """The manner that each part is to have at a scale, and how strongly."""
    alphas = [dict(zip(levels, part.alphas, strict=True)) for part in parts.all]
    found = [manner_of(part, levels, halvings) for part in parts.all]
    for manner in found:
        for level in levels if manner else ():
            width = vgg.config.encoder(level)[1][level - 1][0]
            if manner and manner.features[level].shape != (width, width):
                raise ValueError("a style's manners are not those of this encoder: encode it anew")
    return found, alphas


def manner_of(part: Part, levels: Sequence[int], halvings: int) -> Manner | None:
    """A part's styles mixed; None for a part without."""
    if not part.styles:
        return None
    found = [style.manners.get(halvings) for style in part.styles]
    known = [manner for manner in found if manner is not None]
    if len(known) < len(found):
        raise ValueError(
            "refining needs styles with manners, which older style files lack: make them anew (uwct style save)"
        )
    known = [m.replace(features={level: m.features[level] for level in levels}) for m in known]
    if len(known) == 1:
        return known[0]
    shares = part.weights / part.weights.sum(-1, keepdims=True)
    return mix_manners(known, dict(zip(levels, shares, strict=True)))


def descend(vgg: Model, start: Array, goal: Goal, steps: int, padding: Padding) -> Iterator[tuple[Array, Array]]:
    """Adam's steps from a picture at one scale: each time the loss before it, and the average of the last pictures."""
    shapes = None if goal.photo is None else shapes_of(vgg, goal.photo, padding=padding)
    goal = goal.replace(photo=None)
    picture, average, state = start, start, _begun(start)
    for number in range(steps):
        picture, average, state, loss = _step(vgg, picture, average, state, number, goal, shapes, padding=padding)
        yield loss, average


@quick_jit()
def _begun(picture: Array) -> optax.OptState:
    """What Adam remembers of each pixel before the first step."""
    return ADAM.init(picture)


@quick_jit("padding")
def _step(vgg, picture, average, state, number, goal, shapes, *, padding):  # type: ignore[no-untyped-def]
    def loss(picture: Array) -> Array:
        return loss_of(see(vgg, picture, goal, shapes, padding=padding), goal, picture[..., 0].size)

    value, gradient = jax.value_and_grad(loss)(picture)
    picture, average, state = moved(picture, average, state, gradient * picture[..., 0].size, number)
    return picture, average, state, value


def moved(
    picture: Array, average: Array, state: optax.OptState, gradient: Array, number: Array | int
) -> tuple[Array, Array, optax.OptState]:
    """One step of Adam, every pixel by itself: the picture, the average of the last ones, Adam's state.

    The gradient is that of the loss times the number of pixels.
    """
    update, state = ADAM.update(gradient, state)
    picture = picture - RATE * update
    decay = jnp.minimum(AVERAGE, (1.0 + number) / (10.0 + number))
    return picture, decay * average + (1 - decay) * picture, state


def see(vgg: Model, picture: Array, goal: Goal, shapes: list[Array] | None, *, padding: Padding = "reflect") -> Seen:
    """What the loss takes of a picture, or of a window whose shares are 0 beyond its tile: sums over pixels."""
    levels = tuple(goal.alphas[0])
    deepest = max(levels if shapes is None else (*levels, *SHAPES))
    features = dict(enumerate(vgg.encode(picture, deepest, padding=padding), 1))
    of_levels = {level: features[level] for level in levels}
    seen = manners(picture, of_levels, goal.shares, padding)
    held, excess = jnp.zeros(()), jnp.square(picture - jnp.clip(picture, 0, 1)).sum(-1)
    for share, alphas, wanted in zip(goal.shares, goal.alphas, goal.wanted, strict=True):
        free = 0 if wanted is None else sum(alphas.values()) / len(alphas)
        if shapes is not None:
            held += (1 - free) * _held([features[level] for level in SHAPES], shapes, share)
    pixels = sum(share for share in goal.shares if share is not None)
    return Seen(seen, held, (excess * (1 if goal.shares[0] is None else pixels)).sum())


def _held(found: Sequence[Array], shapes: Sequence[Array], share: Array | None) -> Array:
    """The sum over pixels of how differently features point, the mean over levels."""
    total = jnp.zeros(())
    for level, features, shape in zip(SHAPES, found, shapes, strict=True):
        apart = jnp.square(direction(features) - shape).sum(-1)
        weights = pool(share, level)
        total += stride(level) ** 2 * (apart if weights is None else weights * apart).sum()
    return total / len(SHAPES)


def direction(features: Array) -> Array:
    """Features `[..., C]` of length 1, but for faint ones: as LPIPS takes them (Zhang et al., CVPR 2018)."""
    x = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-3)


@quick_jit("padding")
def shapes_of(vgg: Model, photo: Array, *, padding: Padding = "reflect") -> list[Array]:
    """The directions of a photo's features at the levels `SHAPES`, in the precision that `vgg` computes in."""
    taps = vgg.encode(photo, SHAPES[-1], padding=padding)
    return [direction(taps[level - 1]).astype(vgg.dtype) for level in SHAPES]


def loss_of(seen: Seen, goal: Goal, pixels: float) -> Array:
    """The loss of a whole picture of so many pixels: each part counts by its size."""
    style = jnp.zeros(())
    for found, wanted, alphas in zip(seen.manners, goal.wanted, goal.alphas, strict=True):
        if wanted is not None:
            share = jax.lax.stop_gradient(found.weight) / pixels
            style += share * manner_distance(found, wanted, alphas)
    return style + CONTENT * seen.content / pixels + EXCESS * seen.excess / (3 * pixels)


def with_manners(style: Style, vgg: Model, picture: Array, mask: Array | None = None) -> Style:
    """A style that can be refined towards, by the picture `[H, W, 3]` it was encoded of, and its mask `[H, W]`.

    Raises ValueError for what is no picture, or a mask of another shape.
    """
    check_picture(picture)
    if mask is not None:
        check_mask(jnp.shape(mask), jnp.shape(picture)[:2])
    unit = stride(5) << max(SCALES)
    picture, pixels = pad_to(jnp.asarray(picture, jnp.float32), unit)
    weights: Any = np.ones(picture.shape[:2], np.float32) if pixels is None else pixels
    if mask is not None:
        weights = pad_to(jnp.asarray(mask, jnp.float32)[..., None], unit)[0][..., 0] * weights
    with expecting(lambda: [_manner(vgg, as_shapes(picture), as_shapes(weights), halvings) for halvings in SCALES]):
        return style.replace(manners={halvings: _manner(vgg, picture, weights, halvings) for halvings in SCALES})


@quick_jit("halvings")
def _manner(vgg: Model, picture: Array, share: Array, halvings: int) -> Manner:
    """A style picture's manner at a scale."""
    picture, share = at(halvings, (picture, share))
    features = dict(enumerate(vgg.encode(picture), 1))
    return manners(picture, features, [share])[0]


def check_loss(step: Step) -> None:
    """Raises FloatingPointError for a step whose loss is not finite; does nothing while tracing."""
    if isinstance(step.loss, jax.core.Tracer):
        return
    if not np.isfinite(np.asarray(step.loss)):
        raise FloatingPointError(f"refining: the loss before step {step.number} is not finite")
