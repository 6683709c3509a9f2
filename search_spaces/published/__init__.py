"""Networks of papers."""
