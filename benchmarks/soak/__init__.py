"""The whole pipeline on a synthetic table of any size, stage by stage: what each takes, and how that grows."""
