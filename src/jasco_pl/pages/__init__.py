"""Static HTML pages that need nothing but themselves: no server, no network, no second file but the audio they play."""
