"""What a page of results needs beside relevance: the match set, facets, order, groups, pages and diversity."""
