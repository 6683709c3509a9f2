"""Published networks, one family a file, each with a line `PRESETS = {...}`."""
