import sys
from pathlib import Path

# Benchmarks are programs, not part of the package.
sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
