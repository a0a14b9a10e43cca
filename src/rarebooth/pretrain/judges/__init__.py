"""Trains the two judges that come with the embedded base: a small CLIP and a small DINO."""
