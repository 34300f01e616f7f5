"""Footage as it lies on disk: layouts, videos, images, labels, masks."""
