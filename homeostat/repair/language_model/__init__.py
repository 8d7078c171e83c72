"""Asking a language model for a patch, behind one port; off unless an address is set.

Its answer is a candidate like any other: proven in the sandbox or refused with the reason, and
never applied without a person until that very fix has held often enough.
"""
