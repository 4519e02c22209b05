"""How well releases rank: measures of every stage, slices, comparison and gate."""
