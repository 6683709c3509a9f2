"""The service: several people, one machine room; a queue of searches over HTTP."""
