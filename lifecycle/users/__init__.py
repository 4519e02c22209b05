"""Learns lists for people from behaviour: `tandem train users`."""
