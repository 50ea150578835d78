"""One file a format: how it is recognised, read by byte ranges, and written as a stream."""
