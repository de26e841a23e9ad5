"""One inverse for many targets (method, section 4): which signals it is fitted on, and the fit in two parts."""
