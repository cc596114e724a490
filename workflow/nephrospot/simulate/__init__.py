"""Simulated kidneys with a known truth: one layout gives the image, the masks, the cells and the counts.

Everything made here is simulated and must be called so wherever it is shown.
"""
