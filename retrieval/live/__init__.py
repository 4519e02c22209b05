"""Products that change while they are served."""
