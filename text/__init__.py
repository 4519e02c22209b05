"""Analysis of words: terms, quantities, spelling of letters, synonyms and rewrites, what queries say of prices."""
