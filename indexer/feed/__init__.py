"""Reading feeds: compression, encoding, format, rows."""
