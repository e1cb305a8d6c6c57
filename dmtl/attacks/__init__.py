"""What liars say instead of the truth, one file each."""
