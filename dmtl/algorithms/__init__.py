"""Methods: one file each, three pure functions of an explicit state."""
