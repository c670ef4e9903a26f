"""What several experiments share: data sets, models, figures, and what every experiment does around its own work."""
