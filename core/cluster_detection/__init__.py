"""The cluster section of a spec, from what tools say of a machine: text in, plain data out."""
