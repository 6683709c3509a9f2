"""Between stages, one file each."""
