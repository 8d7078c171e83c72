"""Edits of Python source that keep its formatting and comments (LibCST)."""
