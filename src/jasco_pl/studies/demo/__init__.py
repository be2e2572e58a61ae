"""Requests from a file -> clips beside the same without controls, measured, as a page to play and a page to read."""
