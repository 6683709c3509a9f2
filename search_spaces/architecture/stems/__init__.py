"""Every stem as values: one file each, of the same name as its module in network/stems."""
