"""What runs, where, in which order, and again after a failure. The only package that knows Ray."""
