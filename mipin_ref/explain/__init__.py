"""One call: the class that each image is taken for, and the map of it; preprocessing, targets, calibration, cache."""
