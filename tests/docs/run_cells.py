"""Runs the code cells of a notebook in a process of its own, from top to bottom.

Arguments: the notebook. Prints, behind what the cells print, one JSON line: for each code cell the
class of the value that the notebook would show, or None.
"""
import ast
import json
import sys
from pathlib import Path


def run(cell, scope):
    """Run a cell; what its last line gives, where that is an expression."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, '<cell>', 'exec'), scope)
    return eval(compile(ast.Expression(last.value), '<cell>', 'eval'), scope) if last else None


if __name__ == '__main__':
    cells = json.loads(Path(sys.argv[1]).read_text())['cells']
    scope = dict(__name__='__main__')
    shown = [run(''.join(cell['source']), scope) for cell in cells if cell['cell_type'] == 'code']
    print(json.dumps([None if value is None else type(value).__name__ for value in shown]))
