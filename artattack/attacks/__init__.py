"""Attacks: style transfer, ART's baselines, controls, and the budgets they are held to."""
