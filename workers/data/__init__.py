"""A text becomes batches on a device."""
