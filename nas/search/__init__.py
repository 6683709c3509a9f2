"""One study, from its lease to its last trial."""
