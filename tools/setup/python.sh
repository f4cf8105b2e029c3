# Sourced by the shell scripts of tools/: PYTHON is the one of the set-up, unless it is set already.
if [ -z "${PYTHON:-}" ]; then
    PYTHON="$(dirname "${BASH_SOURCE[0]}")/../../.venv/bin/python"
    [ -x "$PYTHON" ] || PYTHON=python
fi
