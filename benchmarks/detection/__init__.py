"""How well label errors are found, data set by data set and noise by noise."""
