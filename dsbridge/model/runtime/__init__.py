"""Helpers that emitted files carry with them: what MindSpore lacks, or does otherwise than torch. Each is tested against it."""
