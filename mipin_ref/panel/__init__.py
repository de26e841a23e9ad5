"""All methods by their names, MIP-IN among them: what each needs, one call, and several side by side."""
