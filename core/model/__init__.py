"""The Pyomo model of a problem and its lowerings to solvers."""
