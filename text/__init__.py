"""Analysis of words: terms, quantities, spelling of letters, synonyms and rewrites, price bounds in queries."""
