"""Who proposes the next genotype."""
