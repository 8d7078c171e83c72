"""What a sandboxed program may use at most."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds of one sandboxed run; bytes and seconds.

    `memory_bytes` bounds the address space of each process, and the resident memory of all
    together (watched from outside, because POSIX has no limit for a group of processes).
    `disk_bytes` is the size of the private file system that holds the copy of the tree.
    """

    wall_s: float = 120.0
    cpu_s: int = 120
    memory_bytes: int = 3 * 1024 * MEGABYTE
    processes: int = 128
    file_bytes: int = 256 * MEGABYTE
    disk_bytes: int = 1024 * MEGABYTE
    open_files: int = 1024
    output_bytes: int = 4 * MEGABYTE
    record_bytes: int = 64 * MEGABYTE
