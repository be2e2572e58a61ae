"""Requests in, clips out: sampling, windows, painting."""
