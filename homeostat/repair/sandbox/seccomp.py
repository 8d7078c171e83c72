"""A seccomp filter that takes system calls away which no test of a Python package needs.

The user namespace and the mount tricks are refused here too, because bubblewrap started by root
makes no user namespace of its own and so cannot forbid further ones.
"""

from __future__ import annotations

import platform
import struct

_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000
_EPERM = 1
_ENOSYS = 38

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_SET = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_JUMP_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_FIRST_ARGUMENT = 0, 4, 16

#: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (linux/sched.h).
_NEW_NAMESPACES = 0x7E020000
_X32_CALLS = 0x40000000

#: Numbers that are the same on every architecture since Linux 5.1 (asm-generic/unistd.h):
#: io_uring_setup, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, pidfd_getfd,
#: mount_setattr.
_COMMON = (425, 428, 429, 430, 431, 432, 433, 438, 442)
_CLONE3 = 435

_MACHINES: dict[str, tuple[int, int, tuple[int, ...]]] = {
    # machine: audit architecture, number of clone, denied numbers (linux/audit.h, unistd.h):
    # ptrace, mount, umount2, pivot_root, chroot, unshare, setns, keyctl, add_key, request_key,
    # init_module, delete_module, finit_module, kexec_load, kexec_file_load, perf_event_open,
    # process_vm_readv, process_vm_writev, bpf, userfaultfd, open_by_handle_at, reboot, swapon.
    "x86_64": (
        0xC000003E,
        56,
        (
            101,
            165,
            166,
            155,
            161,
            272,
            308,
            250,
            248,
            249,
            175,
            176,
            313,
            246,
            320,
            298,
            310,
            311,
            321,
            323,
            304,
            169,
            167,
        ),
    ),
    "aarch64": (
        0xC00000B7,
        220,
        (
            117,
            40,
            39,
            41,
            51,
            97,
            268,
            219,
            217,
            218,
            105,
            106,
            273,
            104,
            294,
            241,
            270,
            271,
            280,
            282,
            265,
            142,
            224,
        ),
    ),
}


def seccomp_filter(machine: str | None = None) -> bytes | None:
    """Return the compiled filter for `machine` (this one by default), None where unknown."""
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    architecture, clone, denied = known
    program = [
        (_LOAD_WORD, 0, 0, _OFFSET_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, _OFFSET_NUMBER),
        (_JUMP_AT_LEAST, 0, 1, _X32_CALLS),
        (_RETURN, 0, 0, _KILL),
    ]
    for number in (*denied, *_COMMON):
        program += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    # The flags of clone3 lie in memory, which a filter cannot read; libc falls back to clone.
    program += [(_JUMP_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    program += [
        (_JUMP_EQUAL, 0, 3, clone),
        (_LOAD_WORD, 0, 0, _OFFSET_FIRST_ARGUMENT),
        (_JUMP_SET, 0, 1, _NEW_NAMESPACES),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in program)
