"""Prepared data: what a sample holds, shards on disk, the order in which they are read, Lightning's data module."""
