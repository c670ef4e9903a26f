"""The stages of the pipeline: files in, files out. Each runs as `python -m tasks.<stage>`, without a server."""

import os

# Threads that wait for work must sleep, not spin: on a busy machine spinning made training ten times slower. OpenMP
# reads this once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
