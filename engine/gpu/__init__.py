"""What runs on a GPU. Loads torch, so nothing outside imports it before a GPU is requested."""
