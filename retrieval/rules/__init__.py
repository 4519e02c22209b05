"""Merchandising rules while serving: matching them to requests, and taking up what is published."""
