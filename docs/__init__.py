"""The documents, and the generator of the parts that follow from the code."""
