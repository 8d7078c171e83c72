"""The proof of a patch: recorded steps, cheap first, each of which could come out otherwise."""

from homeostat.repair.proof.prover import Prover
from homeostat.repair.proof.record import Proof, Step

__all__ = ["Proof", "Prover", "Step"]
