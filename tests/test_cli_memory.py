"""Memory limits of containers and jobs, as files of control groups say them."""

import psutil
import pytest
from PIL import Image

from uwct.cli import memory, sizes, stylize


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A control group of this process, within another one."""
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "OWN", tmp_path / "own")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 8 * 2**30}))
    path = tmp_path / "cgroup" / "job" / "step"
    path.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/job/step\n")
    return path


def write(group, limit, usage, cached=0):
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{usage}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")


def test_without_limits_it_is_the_machines(group):
    write(group, "max", 2**30)
    assert memory.available() == 8 * 2**30


def test_the_narrowest_group_counts_and_its_caches_give_way(group):
    write(group, 3 * 2**30, 2**30, 2**20)
    write(group.parent, 2**30, 2**29)
    assert memory.available() == 2**29
    write(group.parent, "max", 0)
    assert memory.available() == 2 * 2**30 + 2**20


def test_a_containers_own_root_and_the_first_version_count(group, tmp_path):
    (tmp_path / "own").write_text("5:cpu:/elsewhere\n4:memory,hugetlb:/docker/of_the_host\n0::/docker/of_the_host\n")
    root = tmp_path / "cgroup" / "memory"
    root.mkdir()
    (root / "memory.limit_in_bytes").write_text("1000\n")
    (root / "memory.usage_in_bytes").write_text("400\n")
    assert memory.available() == 600
    write(root.parent, 500, 100)
    assert memory.available() == 400


def test_pictures_and_windows_keep_within_it(group, folder, monkeypatch):
    write(group, 2**20, 2**20 - 1000)
    assert sizes.free_memory() == 1000
    with pytest.raises(ValueError, match="of memory to be read"):
        sizes.read(folder / "photo.jpg")


def test_windows_of_what_must_be_decoded_whole_keep_within_it_too(group, stranger, capsys):
    Image.open("photo.jpg").save("photo.bmp")
    write(group, 2**30, 2**30 - 5000)
    words = ["--style", "style.safetensors", "--tile", "160", "--model", "tiny.safetensors", "--output", "out.png"]
    with pytest.raises(SystemExit) as stop:
        stylize.main(["--content", "photo.bmp", *words])
    assert stop.value.code == 2
    assert "photo.bmp has 33x21 pixels and needs about 0.0 GiB of memory to be read" in capsys.readouterr().err
    assert not list(stranger.glob("*out.png*"))
