"""How much memory there is, asked before much of it is taken."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
# Of a container, by cgroup 2 or 1: its limit, what is used, and what of that are copies of files that give way.
_CONTAINERS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available() -> int | None:
    """Bytes that this process may still take; None where the system does not tell."""
    found = [_free_in_the_machine(), *(_free_in_a_container(*container) for container in _CONTAINERS)]
    return min((number for number in found if number is not None), default=None)


def too_much(needed: int) -> str | None:
    """What is wrong with taking so many bytes, in words; None if they can be had."""
    free = available()
    if free is None or needed <= free:
        return None
    return f"needs about {in_words(needed)} of memory, {in_words(free)} are free"


def in_words(number: int) -> str:
    """Bytes as a person reads them."""
    if number >= 2**30:
        return f"{number / 2**30:,.1f} GiB"
    return f"{number / 2**20:,.1f} MiB" if number >= 2**20 / 10 else f"{number / 2**10:,.1f} KiB"


def _free_in_a_container(folder: Path, limit: str, used: str, gives_way: str) -> int | None:
    try:
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        taken = int((folder / used).read_text()) - int(statistics[gives_way])
        return max(0, int((folder / limit).read_text()) - taken)
    except (OSError, ValueError, KeyError):  # there is none, or it has no limit
        return None


def _free_in_the_machine() -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return None
