"""Penalties: what couples the models of all tasks, with proximal maps; the columns of a matrix are the tasks."""
