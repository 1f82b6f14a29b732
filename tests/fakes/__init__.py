"""Small stand-ins for what lies outside, each as true as its contract suite proves."""
