"""The commands, one module per subject. They read options, call the API, and print the answer."""
