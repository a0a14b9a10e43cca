"""Trains the embedded base from rendered scenes: ``python -m rarebooth.pretrain --help``."""
