"""One model timed alone."""
