"""Booting on a worker, so that the workflow can be asked for like any other task."""
