"""What a person or a schedule starts: the pipeline over dvc.yaml, its schedule, and the command line."""
