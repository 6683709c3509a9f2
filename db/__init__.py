"""The database: facts in, fronts out."""
