"""Learning the final score of a release."""
