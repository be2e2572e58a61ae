"""What surrounds a process: files, resources, weights, environment, seeding, errors. Knows nothing else of the project."""
