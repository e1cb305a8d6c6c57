"""What a run says afterwards: its files read, its numbers, its pictures and its page."""
