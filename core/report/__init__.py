"""A plan for the eye: the HTML report and the trace."""
