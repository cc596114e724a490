"""The report: pictures of the masks (`overlay`), figures of the spots (`figures`), one HTML page (`page`).

Import the modules themselves: a rule then reruns only for the code that it uses.
"""
