"""Texts, JSON, CSV, pictures and pages over records."""
