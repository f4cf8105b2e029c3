"""The report of a training: one HTML page in its work directory, written while it runs."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'hook': ['RunReportHook'],
    'writing': ['write_run_report'],
})
