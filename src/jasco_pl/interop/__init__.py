"""audiocraft's checkpoints as models of this project, and the Hub: fetching, caching, publishing."""
