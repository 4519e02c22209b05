"""A feed becomes a release: read, clean, embed, index, validate, publish."""
