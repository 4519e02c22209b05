"""The index of suggestions: completes what is typed and corrects it."""
