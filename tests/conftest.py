"""Two CPU devices for all tests, and a model small enough to run in milliseconds."""

import atexit
import gc
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

# All processes of one run share what they compile, and leave the user's own cache alone. Before JAX, which reads it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="uwct-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from uwct import encode_style, save_style, with_manners
from uwct.networks.config import LEVELS, ModelConfig
from uwct.networks.model import Model, init_decoder, save
from uwct.networks.vgg import Encoder

# The tests' pictures are small: compiling takes longer than computing. The processes that they start inherit it.
QUICKLY = ["backend_optimization_level=0", "cpu_parallel_codegen_split_count=1"]
if jax.__version_info__ < (0, 11):  # XLA's older emitters, which later versions lack, compile in half the time
    QUICKLY.append("cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(f"--xla_{flag}" for flag in QUICKLY))
gc.set_threshold(100_000, 50, 100)  # of the hundred thousands of objects that programs are, hardly any is garbage
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_traceback_in_locations_limit", 0)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
settings.register_profile("uwct", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("uwct")

# Test files, by the packages of extras that they import: where a system has no wheel, they are left out.
NEEDS = {
    "apache_beam": ("beam", "documents"),
    "av": ("animations", "cli_frames", "cli_video", "clips", "documents", "look_tables"),
    "datasets": ("datasets", "loaders", "ray"),
    "ipykernel": ("notebook",),
    "nbclient": ("notebook",),
    "h5py": ("cli_convert", "cli_fetch", "fuzz", "refusals", "strangers"),
    "onnx": ("documents", "export", "page"),
    "onnxruntime": ("documents", "export"),
    "playwright": ("page", "web"),
    "ray": ("ray",),  # in no extra, being as large as all others: pip install "ray[data]" for its test
    "sklearn": ("documents",),
    "tensorflow": ("datasets",),
    "webdataset": ("datasets", "beam"),
    "torch": (
        "cli_convert",
        "cli_fetch",
        "comfyui",
        "compat",
        "formats",
        "fuzz",
        "loaders",
        "preprocessing",
        "ray",
        "refusals",
        "strangers",
    ),
}
collect_ignore = [f"test_{name}.py" for needed in NEEDS if not find_spec(needed) for name in NEEDS[needed]]
# The folder dist of the npm package onnxruntime-web, which .ci/run fetches.
RUNTIME = os.environ.get("UWCT_ONNXRUNTIME_WEB", "")
if not RUNTIME:
    collect_ignore.append("test_page.py")


def pytest_terminal_summary(terminalreporter):
    if not RUNTIME:
        terminalreporter.write_line(
            "test_page.py is left out: UWCT_ONNXRUNTIME_WEB names no folder (see CONTRIBUTING.md)"
        )


# Begins a program that a SIGINT is to interrupt: a shell's background jobs, and so their children, ignore it.
HEED_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
# The command `uwct` itself, for `python -c`.
UWCT = HEED_SIGINT + "from uwct.cli.main import main; main()"


@pytest.fixture(autouse=True, scope="module")
def room_for_programs():
    """Forgets what was compiled once it is much: each program keeps mappings of memory, of which Linux gives a process
    65,530."""
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()


TINY = ModelConfig("tiny", ((8, 8), (8, 8), (12, 12, 12), (12, 12, 12), (12,)), 0.75)


@pytest.fixture(scope="session")
def tiny_model() -> Model:
    """Random weights everywhere, the decoders' last layers included (which training starts at 0)."""
    r, key = np.random.default_rng(7), jax.random.key(0)
    shapes = {"encoder": jax.eval_shape(Encoder(TINY.blocks).init, key, jnp.zeros((1, 16, 16, 3)))["params"]}
    for level in LEVELS:
        shapes[f"decoder{level}"] = jax.eval_shape(lambda level=level: init_decoder(key, TINY, level))

    def he_normal(leaf):  # with positive biases, so that few channels are shut
        if len(leaf.shape) == 4:
            return jnp.float32((2 / (9 * leaf.shape[2])) ** 0.5 * r.normal(size=leaf.shape))
        return jnp.float32(0.2 * r.random(leaf.shape))

    return Model(jax.tree.map(he_normal, shapes), TINY)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth colourful picture, float32 [H, W, 3] in [0, 1]."""
    r = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width][..., None] / 16
    waves = sum(np.sin(x * r.normal(size=3) + y * r.normal(size=3) + r.normal(size=3)) for _ in range(4))
    return np.float32(np.clip(0.5 + 0.2 * waves + 0.02 * r.normal(size=(height, width, 3)), 0, 1))


def cutouts(rgb: np.ndarray) -> list[Image.Image]:
    """Two pictures whose left half is seen; they differ in what they hide, as far from it as level 1 does not see."""
    height, width, _ = rgb.shape
    found = []
    for seed in (8, 9):
        hiding = np.where(np.arange(width)[:, None] < width // 2 + 8, rgb, picture(height, width, seed))
        found.append(Image.fromarray(np.uint8(255 * hiding)))
        found[-1].putalpha(Image.fromarray(np.uint8(255 * (np.arange(width) < width // 2))[None].repeat(height, 0)))
    return found


@pytest.fixture
def photographs(tmp_path):
    """A folder of eight JPEG photographs of different sizes."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(8):
        Image.fromarray(np.uint8(255 * picture(40 + 3 * i, 52 - i, seed=i))).save(folder / f"{i}.jpg", quality=95)
    return folder


@pytest.fixture(scope="session")
def tiny_vgg(tiny_model) -> Model:
    """The encoder that refinement looks with; that of VGG-16 would be slow."""
    return Model({"encoder": tiny_model.params["encoder"]}, tiny_model.config)


@pytest.fixture
def folder(tmp_path, tiny_model, tiny_vgg, monkeypatch):
    """A working directory with a photo, two styles and a model; commands there refine by a tiny encoder."""
    monkeypatch.chdir(tmp_path)
    for module in ("watching", "style", "painter"):
        monkeypatch.setattr(f"uwct.cli.{module}.backbone", lambda name: tiny_vgg)
    for name, seed in (("photo.jpg", 1), ("a.png", 2), ("b.png", 3)):
        Image.fromarray(np.uint8(255 * picture(20 + seed, 33, seed))).save(name)
    save(tiny_model, "tiny.safetensors")
    return tmp_path


@pytest.fixture
def styles(folder):
    """The same, with the two styles in a folder of their own."""
    Path("styles").mkdir()
    for name in "ab":
        Path(f"{name}.png").rename(f"styles/{name}.png")
    return folder


@pytest.fixture
def stranger(folder, tiny_model, tiny_vgg):
    """The same, with a style of that model."""
    rgb = jnp.asarray(picture(24, 24))
    save_style(with_manners(encode_style(tiny_model, rgb), tiny_vgg, rgb), "style.safetensors", tiny_model)
    return folder
