"""`mipin evaluate`: a file a metric, each a Measure that the command asks for one row a method."""
