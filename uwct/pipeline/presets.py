"""Settings that go well together, chosen by `uwct evaluate` and by eye."""

import dataclasses

REFINE_STEPS = 50


@dataclasses.dataclass(frozen=True)
class Preset:
    """The arguments of `stylize` that make up a manner.

    Attributes:
      levels: from deep to shallow.
      alpha: strength, one a level.
      style_size: long side in pixels to resize the style to.
      transform: a name in `transforms.matching.TRANSFORMS`.
      shrinkage: how far covariances are drawn towards a multiple of I, in [0, 1].
    """

    levels: tuple[int, ...]
    alpha: tuple[float, ...]
    style_size: int = 512
    transform: str = "monge"
    shrinkage: float = 0.3


PRESETS = {
    "gentle": Preset((3, 2, 1), (0.4, 0.5, 0.6)),
    "paint": Preset((4, 3, 2, 1), (1, 0.8, 0.5, 0.5)),
    "texture": Preset((5, 4, 3, 2, 1), (0.6, 0.8, 0.7, 0.6, 0.6)),
    "shallow": Preset((2, 1), (0.8, 0.8)),
    "deep": Preset((5, 4), (0.8, 0.8)),
    "colors": Preset((1,), (1,)),
}
