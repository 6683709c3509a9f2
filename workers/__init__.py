"""Workers: architecture -> measurement. Data, training, timing, and the Ray pool that carries them."""
