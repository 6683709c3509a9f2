"""Feed-forwards, one file each."""
