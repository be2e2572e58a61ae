"""Music as it lies around -> training shards: find it, read it, listen to it, keep what is good, say what is not."""
