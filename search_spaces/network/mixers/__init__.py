"""Token mixers, one file each; registry.py names them."""
