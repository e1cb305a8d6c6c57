"""Losses on one flat vector, one file each."""
