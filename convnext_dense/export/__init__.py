"""Trained models as files of other runtimes: ONNX, OpenVINO, packages of torch."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'exporting': ['export_model'],
    'targets': ['ExportOptions'],
})
