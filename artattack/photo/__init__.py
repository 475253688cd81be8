"""Painting one photo, and showing each classifier's predictions before and after."""
