"""The embedded networks: the image sets that they are trained on, read or composed, their training, and their files.

`tools/train.py` is the command. The sets, and where networks lie, serve the experiments of the paper and the
measurements too.
"""
