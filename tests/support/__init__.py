"""Servers, disks, cameras and footage for tests."""
