"""Flow matching: the path from noise to data, multi-source guidance, solvers. Knows nothing of Lightning or of music."""
