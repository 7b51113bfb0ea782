"""Holdfast carries long model answers through silence, hang-ups and resets, and says why they broke."""

__version__ = "0.1.0"
