"""Files, commands and signals: atomic writing, safe reading, stopping between steps."""
