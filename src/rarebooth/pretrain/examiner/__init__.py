"""The examiner: a small classifier that reads from a picture what was asked for.

It is trained on renders alone and shares nothing with the base or the judges, so that it can say
whether they are right.
"""
