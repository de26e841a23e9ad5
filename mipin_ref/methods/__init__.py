"""The methods besides MIP-IN: a file each, and what they have in common: facts, rules, sweeps, patterns."""
