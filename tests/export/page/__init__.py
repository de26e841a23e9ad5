"""Tests of pages that explain in the browser."""
