"""Multi-task learning without a master."""
