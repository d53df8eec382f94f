"""A folder with a page that paints in the browser, for any server of files: models, runtime, pictures, and the page.

The page itself lies in `web/`. What runs the models there is ONNX Runtime's build for browsers, the npm package
onnxruntime-web; of its builds the page loads the one that fits the browser, zipped.
"""

import gzip
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from uwct.export.painting import level_painter, observer
from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pictures.spaces import in_space
from uwct.pipeline.presets import Preset

WEB = Path(__file__).parent / "web"
PACKAGE = "onnxruntime-web@1.30.0"
# Builds, by the names that the page knows: the library, and its program (a loader, and WebAssembly).
BUILDS = {
    "wasm": ("ort.wasm.min.mjs", "ort-wasm-simd-threaded"),
    "jspi": ("ort.jspi.min.mjs", "ort-wasm-simd-threaded.jspi"),
    "asyncify": ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify"),
}
LONGEST = 1024  # pixels of example pictures


def build(
    model: Model, look: Preset, folder: Path, runtime: Path, photos: Sequence[Path], styles: Sequence[Path]
) -> None:
    """Fills an empty folder; `runtime` is onnxruntime-web's folder `dist`.

    Raises ValueError for what cannot be exported or read, FileNotFoundError for a runtime that is none.
    """
    shutil.copytree(WEB, folder, dirs_exist_ok=True)
    copy_runtime(runtime, folder / "runtime")
    models = {"style": observer(model, look)}
    models |= {f"level{level}": level_painter(model, look, level) for level in look.levels}
    (folder / "models").mkdir()
    for name, graph in models.items():
        (folder / "models" / f"{name}.onnx").write_bytes(graph.SerializeToString())
    settings = {
        "levels": look.levels,
        "alphas": look.alpha,
        "style_size": look.style_size or LONGEST,
        "photos": copy_pictures(photos, folder, "photos"),
        "styles": copy_pictures(styles, folder, "styles"),
        "bytes": {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted([*folder.glob("models/*"), *folder.glob("runtime/*.gz")])
        },
    }
    (folder / "settings.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")


def copy_runtime(runtime: Path, folder: Path) -> None:
    """The builds of ONNX Runtime; raises FileNotFoundError where one is missing."""
    folder.mkdir()
    for name, (library, program) in BUILDS.items():
        parts = {f"{name}.js": library, f"{name}.loader.js": f"{program}.mjs", f"{name}.wasm.gz": f"{program}.wasm"}
        for target, source in parts.items():
            if not (runtime / source).is_file():
                raise FileNotFoundError(f"{runtime} lacks {source}; it must be the folder dist of {PACKAGE}")
            data = (runtime / source).read_bytes()
            (folder / target).write_bytes(gzip.compress(data, mtime=0) if target.endswith(".gz") else data)


@contextmanager
def fetched_runtime() -> Iterator[Path]:
    """The folder `dist` of onnxruntime-web, by npm, while it is used.

    Raises FileNotFoundError without npm, OSError when it cannot fetch.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(f"npm is needed, which brings {PACKAGE}; or have that package's folder dist, --runtime")
    with tempfile.TemporaryDirectory(prefix="uwct-") as folder:
        command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"npm cannot fetch {PACKAGE}: {(done.stderr or done.stdout).strip()}")
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
        yield Path(folder) / "package" / "dist"


def copy_pictures(paths: Sequence[Path], folder: Path, kind: str) -> list[dict[str, str]]:
    """Pictures as small JPEG files of sRGB, and where the page finds them."""
    (folder / kind).mkdir()
    found = []
    for number, path in enumerate(paths):
        picture = in_space(images.read(path))
        shape = picture.rgb.shape[:2]
        rgb = images.resize(picture, images.fitted((shape[0], shape[1]), min(LONGEST, max(shape)))).rgb
        file = f"{kind}/{number}.jpg"
        Image.fromarray(np.round(255 * rgb.clip(0, 1)).astype(np.uint8)).save(folder / file, quality=88)
        found.append({"file": file, "name": path.stem.replace("_", " ")})
    return found
