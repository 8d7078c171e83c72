"""From cause to remedy: playbooks for the running system, the coding agent for its code."""
