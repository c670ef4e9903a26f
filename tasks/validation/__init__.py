"""How far a run's scores can be trusted: measured against retraining, and said in words."""
