"""The pipeline language: from YAML text to typed models, or to every problem with its place.

Pure: values in, values out.

`load` is the way in; `model` is what comes out; `schema` publishes the grammar that `load` walks.
"""
