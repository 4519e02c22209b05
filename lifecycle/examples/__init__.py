"""What the models learn from beyond the judgments: queries made up or varied, and hard negatives. No torch."""
