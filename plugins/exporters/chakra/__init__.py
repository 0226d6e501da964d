"""Chakra execution traces of a plan, as ASTRA-sim replays them."""
