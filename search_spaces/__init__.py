"""Search spaces: genotype -> Architecture -> timm-style model, with costs, drawings and the model zoo."""
