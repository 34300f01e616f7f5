"""Faster versions of layers and passes; results are the same, so readers may skip this package."""
