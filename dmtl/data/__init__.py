"""Data sets, how they are read, and how they are spread over the ranks."""
