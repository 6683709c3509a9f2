"""What several mixers, feed-forwards and stems are made of."""
