"""The experiments of Koh & Liang 2017, one a file: real data in, metrics, a figure and a verdict out."""
