"""One file per change of the tables, named by its version; a file that was released never changes."""
