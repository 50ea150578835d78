"""Any dataset as a source of rows: tuples of owned numpy arrays under named columns."""
