"""Chakra's execution traces (MLCommons): what each rank of a run did, with what it waited for."""
