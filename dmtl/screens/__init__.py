"""Robust replacements for the weighted average, one file each."""
