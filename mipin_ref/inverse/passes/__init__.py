"""The data streamed through the passes of a fit: what each pass does, what is kept, and what fits into the memory."""
