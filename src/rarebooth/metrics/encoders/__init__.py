"""Networks that turn pictures, and some of them texts, into features that can be compared.

One file each. A folder says which weights: the miniature world's judges are run by the
very code that runs the originals.
"""
