"""Listening tests (paper, sections 4.1 and 5, table 3): a blind test as a static page, and the statistics of what its raters answered."""
