"""The spec: what a user writes, read with the line of every key and checked key by key."""
