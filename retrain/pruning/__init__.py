"""Coupled-group pruning: recipes, criteria, levels, and the replayable record of the cut."""
