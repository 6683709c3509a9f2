"""One file per change of the tables, v0001, v0002, ...; a file that was released never changes."""
