"""From the last map to the classes, one file each."""
