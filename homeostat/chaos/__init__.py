"""Chaos: real faults under a hypothesis, each with its control."""
