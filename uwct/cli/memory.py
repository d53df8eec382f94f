"""Memory that this process may still take: what the machine has, or a container's or a job's control group leaves."""

from collections.abc import Iterator
from pathlib import Path

import psutil

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# A group's limit and what it uses, in the second version of control groups, and in the first.
FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
CACHES = ("inactive_file", "total_inactive_file")  # what of the usage gives way, by the name of either version


def available() -> int:
    """Bytes."""
    return min([int(psutil.virtual_memory().available), *_left_in_groups()])


def _left_in_groups() -> Iterator[int]:
    """What each group with a limit leaves that this process is in, from its own up to the root."""
    for group in _groups():
        for limit_name, usage_name in FILES:
            try:
                limit, usage = (int((group / name).read_text()) for name in (limit_name, usage_name))
            except (OSError, ValueError):  # there is none, or it is "max"
                continue
            yield max(0, limit - usage + _cached(group))


def _groups() -> Iterator[Path]:
    try:
        lines = OWN.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = GROUPS / "memory" if controllers else GROUPS
        own = root / path.lstrip("/")
        # In a container the path may be the host's, and the root the container's own group.
        yield from (group for group in (own, *own.parents) if group == root or root in group.parents)


def _cached(group: Path) -> int:
    try:
        lines = (group / "memory.stat").read_text().splitlines()
        return max(int(value) for name, value in (line.split() for line in lines) if name in CACHES)
    except (OSError, ValueError):
        return 0
