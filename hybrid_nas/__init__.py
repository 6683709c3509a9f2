"""The public face: the wiring of all parts, and the Python API."""
