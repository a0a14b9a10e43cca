"""The exam of an embedded base: what it can do, read by an examiner, against stated bars."""
