"""Several serving processes on one port."""
