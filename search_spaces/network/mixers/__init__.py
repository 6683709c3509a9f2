"""Token mixers, one file each."""
