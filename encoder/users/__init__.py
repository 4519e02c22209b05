"""The user tower: the history of a user as a vector among those of products."""
