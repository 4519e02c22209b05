"""The gRPC service of one process."""
