"""Lists for people: what was learned from shoppers' behaviour, and the sources and features that recommend by it."""
