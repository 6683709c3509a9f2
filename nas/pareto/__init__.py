"""Fronts: who is on them, how they grew, which point is meant."""
