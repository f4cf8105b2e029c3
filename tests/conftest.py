"""Settings that must stand before any test module is imported."""
import os

# Triton reads it when it is imported, which mmdet does: the kernels' tests run on the CPU
os.environ.setdefault('TRITON_INTERPRET', '1')
