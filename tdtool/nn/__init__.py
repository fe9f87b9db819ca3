"""Nets: architectures, and layers that contract a tensor instead of flattening it (PyTorch)."""
