"""The pipeline language: turns YAML text into typed models, or into a list of problems with positions.

Pure: values in, values out. `load` is the entry point, and `model` has its results. `schema` publishes the
grammar that `load` uses.
"""
