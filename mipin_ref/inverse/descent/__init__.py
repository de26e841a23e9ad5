"""One step down: a tensor's signal from those above it, by pull_back, weights and mask."""
