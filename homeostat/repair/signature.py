"""The two keys of a failed command, by the rules that incidents use."""

from __future__ import annotations

from homeostat.incidents.failure import Failure as SeenFailure
from homeostat.incidents.failure import Source
from homeostat.incidents.raised import Frame as SeenFrame
from homeostat.incidents.raised import Raised
from homeostat.incidents.signature import Signature, signature_of
from homeostat.repair.failure import Failure, Fault
from homeostat.repair.tree import Tree, digest


def keys_of(failure: Failure, tree: Tree) -> Signature:
    """Return the signature of a failed command; its frames are those inside the repository."""
    chain = tuple(_raised(fault) for fault in failure.faults[:8])
    if not chain:
        chain = (Raised("ExitStatus", failure.headline),)
    frames = failure.faults[0].own_frames if failure.faults else ()
    target = tree.read(frames[-1].path) if frames and frames[-1].path else None
    component = frames[-1].module.split(".")[0] if frames and frames[-1].module else "command"
    return signature_of(
        SeenFailure(
            Source.CLI, component, None, chain, digest(target) if target is not None else None
        )
    )


def _raised(fault: Fault) -> Raised:
    frames = tuple(
        SeenFrame(
            frame.module or (frame.path or frame.file).removesuffix(".py").replace("/", "."),
            frame.function,
            frame.path or frame.file,
            frame.line,
            " ".join(frame.code.split()),
            frame.path is not None,
        )
        for frame in fault.frames
    )
    return Raised(fault.type, fault.message, frames)
