"""Arithmetic over lists and judgments: measures, classification, paired comparison."""
