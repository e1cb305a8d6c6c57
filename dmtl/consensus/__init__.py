"""Agreement without a master: averages, extremes and votes, as small states that travel in messages."""
