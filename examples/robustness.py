"""What stylized copies are good for, in the smallest form: handwritten digits on textures that were never seen.

    python examples/robustness.py

Two small networks learn scikit-learn's digits, each for as many steps: one from the digits alone, one from the digits
and copies of them in random styles. Then both read digits that they have not seen, as they are and in styles that
neither has seen. Prints a Markdown table of how many are read correctly, with the standard deviation over seeds.
"""

import dataclasses
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import sklearn.datasets
import tyro

import uwct

SIDE = 32  # pixels of a digit, of which scikit-learn has 8


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to try; the words under each field are its help."""

    styles: Path = Path("examples/styles")
    """A folder of style pictures, of which the last two by name are kept for the test."""
    digits: int = 300
    """How many digits to learn from; as many are read in the test."""
    copies: int = 2
    """How many stylized copies of each."""
    steps: int = 400
    """Steps of training."""
    seeds: int = 1
    """How often all of it is repeated, with other digits and other networks."""
    work: Path = Path("robustness")
    """A folder for the styles that are learned from and those that are tested with."""


class Reader(nn.Module):
    """A small convolutional network: pictures [N, 32, 32, 3] to logits [N, 10]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in (16, 32, 64):
            x = nn.max_pool(nn.relu(nn.Conv(width, (3, 3))(x)), (2, 2), (2, 2))
        return nn.Dense(10)(x.reshape(len(x), -1))


def trained(pictures: np.ndarray, labels: np.ndarray, steps: int, seed: int) -> dict:
    """Parameters after so many steps of Adam on batches of 64."""
    model, optimizer = Reader(), optax.adam(1e-3)
    params = model.init(jax.random.key(seed), jnp.zeros((1, SIDE, SIDE, 3)))
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, x, y):  # type: ignore[no-untyped-def]
        def loss(params):  # type: ignore[no-untyped-def]
            return optax.softmax_cross_entropy_with_integer_labels(model.apply(params, x), y).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    rng = np.random.default_rng(seed)
    for _ in range(steps):
        chosen = rng.integers(len(labels), size=64)
        params, state = step(params, state, pictures[chosen] / np.float32(255), labels[chosen])
    return params


def read_correctly(params: dict, pictures: np.ndarray, labels: np.ndarray) -> float:
    """In percent."""
    return 100 * float((Reader().apply(params, pictures / np.float32(255)).argmax(-1) == labels).mean())


def digits_of(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Twice `count` digits `uint8[2 count, 32, 32, 3]`, drawn at random, and which they are."""
    found = sklearn.datasets.load_digits()
    chosen = np.random.default_rng(seed).permutation(len(found.images))[: 2 * count]
    grey = np.uint8(np.round(found.images[chosen] * (255 / 16)))
    large = jax.image.resize(grey.astype(np.float32), (len(grey), SIDE, SIDE), "bicubic")
    rgb = np.repeat(np.clip(np.asarray(large), 0, 255)[..., None], 3, axis=-1)
    return np.uint8(rgb), found.target[chosen]


def split_styles(arguments: Arguments) -> tuple[Path, Path]:
    """A folder of styles to learn from, one of styles to test with."""
    paths = sorted(arguments.styles.iterdir())
    folders = arguments.work / "seen", arguments.work / "unseen"
    for folder, part in zip(folders, (paths[:-2], paths[-2:]), strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        for path in part:
            (folder / path.name).write_bytes(path.read_bytes())
    return folders


def scores(arguments: Arguments, seed: int) -> np.ndarray:
    """`[2, 2]`: learned without and with copies, by digits as they are and in unseen styles."""
    seen, unseen = split_styles(arguments)
    pictures, labels = digits_of(seed, arguments.digits)
    half = arguments.digits
    how = {"levels": (2, 1), "style_size": 128, "together": 32, "seed": seed, "store": arguments.work / "styles"}
    batch = {"key": range(half), "image": pictures[:half], "label": labels[:half]}
    copies = uwct.Stylizer(seen, copies=arguments.copies, **how)(batch)
    tested = uwct.Stylizer(unseen, alpha=(1, 1), **how)({**batch, "image": pictures[half:]})
    sets = (
        (pictures[:half], labels[:half]),
        (np.concatenate([pictures[:half], copies["image"]]), np.concatenate([labels[:half], copies["label"]])),
    )
    tests = ((pictures[half:], labels[half:]), (tested["image"], labels[half:]))
    learned = [trained(*one, arguments.steps, seed) for one in sets]
    return np.array([[read_correctly(params, *test) for test in tests] for params in learned])


if __name__ == "__main__":
    arguments = tyro.cli(Arguments, description=__doc__)
    found = np.array([scores(arguments, seed) for seed in range(arguments.seeds)])
    print("| learned from | digits as they are | in styles never seen |\n| --- | --- | --- |")
    for i, name in enumerate(("digits alone", "digits and stylized copies")):
        spread = [f" ± {found[:, i, j].std(ddof=1):.1f}" if len(found) > 1 else "" for j in (0, 1)]
        cells = [f"{found[:, i, j].mean():.1f}{spread[j]} %" for j in (0, 1)]
        print(f"| {name} | {' | '.join(cells)} |")
