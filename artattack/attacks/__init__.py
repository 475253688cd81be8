"""Attacks: style transfer, ART's baselines, controls, and budgets."""
