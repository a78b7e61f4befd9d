"""Labelled data sets of generated faces, for people who train classifiers and people who show faces in experiments."""
