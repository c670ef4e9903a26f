"""Measurements that take longer than tests: `python -m benchmarks NAME`, from the root of the repository."""
