"""Load tests of a running service, and the objectives (SLOs) that it has to hold."""
