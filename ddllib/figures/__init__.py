"""Plots, diagrams, contact sheets and tables of the chapters."""
