"""Speed and memory beside other libraries: every job in a process of its own, on the same data and weights."""
