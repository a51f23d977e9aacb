"""What makes a processor fast; imports nothing of ours. ``make bench`` times it."""
