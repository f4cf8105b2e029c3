"""Leaves the text of configs unformatted once imported: a run of mmengine formats it five times
with yapf, which would take most of the time of a tiny run."""
import yapf.yapflib.yapf_api

yapf.yapflib.yapf_api.FormatCode = lambda text, **settings: (text, True)
