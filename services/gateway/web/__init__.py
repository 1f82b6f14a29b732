"""The dashboard: pages below `/ui`, rendered on the server, and the sessions of the browsers that read them.

A page gets its data from the API's own handlers (`asking`), as the user of the session's token. So the pages
have the same queries, access checks and refusals as the API.
"""
