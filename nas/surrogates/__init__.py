"""Models that learn from trials; numpy and scipy only."""
