"""Notebook 12: a field is drawn or opened, and what the detector finds on it is looked at.

state (what is explored; no browser), picture (what is drawn and saved), panel (the widgets).
"""
