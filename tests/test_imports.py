"""The rooms of the package import one another in one direction only, and importing them has no effects."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import uwct

ROOT = Path(uwct.__file__).parent
# What is in a room may import its own room and those before it.
ROOMS = ["files", "transforms", "networks", "convert", "pictures", "pipeline", "export", "judge", "training"]
ROOMS += ["datasets", "beam", "api", "cli"]
MODULES = sorted(p for p in ROOT.rglob("*.py") if p.name not in ("__init__.py", "__main__.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(path: Path) -> set[str]:
    """The modules of uwct that one imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "uwct":
            for alias in node.names:
                full = f"{node.module}.{alias.name}".removeprefix("uwct.")
                is_module = (ROOT / full.replace(".", "/")).with_suffix(".py").exists()
                names.add(full if is_module else node.module.removeprefix("uwct").removeprefix("."))
        elif isinstance(node, ast.Import):
            names |= {a.name.removeprefix("uwct.") for a in node.names if a.name.startswith("uwct.")}
    return names


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path):
    room = name_of(path).split(".")[0]
    for name in imported(path):
        assert ROOMS.index(name.split(".")[0]) <= ROOMS.index(room), f"{name_of(path)} imports {name}"


def test_no_module_imports_itself_through_others():
    left = {name_of(path): imported(path) for path in MODULES}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert not left, f"these import one another in a circle: {sorted(left)}"


def test_every_room_says_what_it_is_for():
    folders = {path.parent for path in MODULES if path.parent != ROOT}
    assert all(ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) for folder in folders)
    assert {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in MODULES} == set(ROOMS)


@pytest.mark.parametrize("path", [p for p in MODULES if "cli" not in p.parts], ids=name_of)
def test_only_commands_print_parse_or_configure(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("print", "input", "jax.config.update", "tyro.cli"), ast.unparse(node)


def test_importing_the_package_starts_no_backend_and_prints_nothing():
    code = "import uwct, jax._src.xla_bridge as b; assert not b.backends_are_initialized()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == result.stderr == ""


def test_the_package_has_the_names_of_its_interface_and_says_which_it_lacks():
    from uwct import api

    assert set(api.__all__) <= set(dir(uwct))
    assert all(getattr(uwct, name) is getattr(api, name) for name in api.__all__)
    with pytest.raises(AttributeError, match="module 'uwct' has no attribute 'nothing'"):
        uwct.nothing  # noqa: B018
