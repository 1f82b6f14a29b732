"""The documents, and what writes those parts of them that follow from the code."""
