"""The online service: wire in, one readable search function, wire out."""
