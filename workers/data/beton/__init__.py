"""FFCV files."""
