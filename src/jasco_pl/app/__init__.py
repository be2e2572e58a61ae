"""The web page to make music with, and its HTTP API."""
