"""How well scores of this library and of its peers predict retraining: `python -m benchmarks fidelity`."""
