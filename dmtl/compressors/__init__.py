"""What a message loses on its way, so that fewer bytes travel."""
