"""A network as values, without torch."""
