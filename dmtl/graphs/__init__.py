"""Graphs: how they are made, drawn at random, or read from a file."""
