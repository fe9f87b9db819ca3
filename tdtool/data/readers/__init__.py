"""Readers of every format: bytes in, batches of documents out. The way in is sources.open_source."""
