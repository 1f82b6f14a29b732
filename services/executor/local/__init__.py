"""The local backend: attempts run as processes of this machine, in pod folders with a supervisor each."""
