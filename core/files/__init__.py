"""Files of any kind: read with a limit, written whole or not at all."""
