"""Readers of foreign weight formats, one file a format, each strict about names and shapes."""
