"""What a sample looks like: dtypes, named columns, and the nesting they came from."""
