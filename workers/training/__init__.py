"""One model trained."""
