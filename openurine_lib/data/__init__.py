"""Data sets: read, checked in one pass, split into folds by patient, counted and shown.

``dataset.prepare`` is the whole way from a folder to two frames, images and boxes. Its steps:
source and readers (what the files say), patients (whose fields they are), check (what is wrong),
splits (five folds). taxonomy and levels hold the classes and the clinical scale. images opens every
image file of the project. statistics makes Tables 1-2 and Figs 1-2.
"""
