"""A folder with everything that a GPU machine without network lacks, what runs there within a given time, and how its results come back."""
