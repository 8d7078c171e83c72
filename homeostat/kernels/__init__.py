"""The control plane: one module per kernel, which meet by messages and never by imports."""
