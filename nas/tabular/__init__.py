"""Searches on recorded benchmarks."""
