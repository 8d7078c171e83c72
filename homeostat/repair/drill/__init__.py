"""Drills: known defects in a copy of the platform's own source, seen, mended and remembered.

Nothing is played: the copy is booted, its failures become incidents, the agent mends the copy.
"""
