import sys

from convnext_dense.cli import run_command

if __name__ == '__main__':
    sys.exit(run_command('compare'))
