"""Training of nets: data, loop, checkpoints, processes (PyTorch)."""
