"""What the commands print, beside running: checks, manual pages, diagnosis, the live view."""
