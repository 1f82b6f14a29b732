"""Measures which modules of Towpath a webhook enters on its way to the sealed log."""
