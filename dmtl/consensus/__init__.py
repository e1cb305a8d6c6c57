"""Agreement without a master: averages, extremes and votes small states that travel in messages."""
