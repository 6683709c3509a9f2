"""Ray: sessions, actors, who is to blame."""
