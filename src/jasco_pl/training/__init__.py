"""Lightning's side: module, callbacks, weight averaging."""
