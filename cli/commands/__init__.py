"""One module a subject: its commands read options, ask the API, and print."""
