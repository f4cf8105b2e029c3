"""Ours against the implementations that a user has today: ``python -m benchmarks.peers [ROW ...]``.

The sides of a row run in one process with the same weights and inputs. Their outputs (for training
their losses and gradients) are compared first. Then they are timed in turns: a ratio is the peer's
time over ours in the same round, and the table gives the median and the range. Memory is the peak
of a process that runs one side only, above what its libraries take. The last column holds the
arithmetic of the row against the rate of a large matrix product, measured in the same rounds.
"""
import argparse
import json
import sys
from pathlib import Path

from benchmarks import measuring
from benchmarks.rows import load_rows

BEGIN, END = '<!-- python -m benchmarks.peers -->', '<!-- end of the table -->'


def run_row(row, seconds, report, only=(), clock='wall'):
    """Measure one row but for its memory; returns a dict of plain values."""
    report(f'{row.name}: building')
    sides = measuring.build(row, report, only)
    comparisons, operations = measuring.compare(row, sides)
    for name, line in comparisons.items():
        report(f'{row.name}: ours and {name}: {line}')
    runs, products = measuring.measure_time(sides, seconds, clock=clock)
    return dict(measuring.summary(row, runs, products, operations), same=comparisons)


def render(rows):
    """The results as a Markdown table."""
    lines = ['| work | against | time of ours, theirs | ratio (range) | bar '
             '| peak MiB of ours, theirs | of the matrix rate |', '|---|---|---|---|---|---|---|']
    for result in rows.values():
        sides, title = result['sides'], result['title']
        ours = sides['ours']
        for name, side in sides.items():
            if name == 'ours':
                continue
            memory = f'{ours["memory"]:.0f}, {side["memory"]:.0f}' if 'memory' in side else ''
            lines.append(line(
                title, name, f'{ours["seconds"]:.3g} s, {side["seconds"]:.3g} s', ratio(side),
                result['bar'] if name == result['peer'] else '', memory,
                f'{result["fraction"]:.2f}' if title else ''))
            title = ''
        if result['fastest_bar']:
            best = result['fastest']
            seconds = [sides[best[key]]['seconds'] for key in ('ours', 'peer')]
            lines.append(line(
                '', f'fastest of ours ({best["ours"]}) and of the peers ({best["peer"]})',
                f'{seconds[0]:.3g} s, {seconds[1]:.3g} s', ratio(best), result['fastest_bar'],
                '', ''))
    return '\n'.join(lines)


def line(*cells):
    return f'| {" | ".join(map(str, cells))} |'


def ratio(values):
    return f'{values["ratio"]:.2f} ({values["least"]:.2f}-{values["greatest"]:.2f})'


def write_docs(path, text, begin=BEGIN, end=END):
    """Put the table between its two marks."""
    path = Path(path)
    before, _, rest = path.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f'{path} lacks the marks {begin} and {end}')
    path.write_text(f'{before}{begin}\n{text}\n{end}{after}')


def main():
    rows = load_rows()
    parser = argparse.ArgumentParser(prog='python -m benchmarks.peers', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog='rows: ' + ', '.join(rows))
    parser.add_argument('rows', nargs='*', metavar='ROW', help='default: all')
    parser.add_argument('--seconds', type=float, default=30., help='spent on the rounds of a row, '
                        'which are 3 at least (default: %(default)g)')
    parser.add_argument('--sides', nargs='+', metavar='SIDE', default=[],
                        help='only these beside ours, such as mmpretrain')
    parser.add_argument('--measure', nargs='+', choices=['time', 'memory'],
                        default=['time', 'memory'], help='(default: both)')
    parser.add_argument('--clock', choices=measuring.CLOCKS, default='wall',
                        help='cpu: the seconds that this process computes, on a machine that is '
                        'shared; with OMP_NUM_THREADS=1, since threads that wait count, too')
    parser.add_argument('--profile', action='store_true',
                        help='print where the time of each side goes, and measure nothing')
    parser.add_argument('--out', metavar='FILE', help='JSON file for the results; the rows that '
                        'it holds already are kept, or replaced by those measured now')
    parser.add_argument('--docs', metavar='FILE', help='Markdown file that shows the table')
    parser.add_argument('--peak', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print(json.dumps(measuring.peak(rows[args.peak[0]], args.peak[1])))
        return
    unknown = [name for name in args.rows if name not in rows]
    if unknown:
        raise SystemExit(f'no row {unknown[0]}; there are {", ".join(rows)}')
    chosen = [rows[name] for name in args.rows or rows]

    def report(line):
        print(line, file=sys.stderr, flush=True)

    if args.profile:
        for row in chosen:
            for name, side in measuring.build(row, report, args.sides).items():
                print(f'{row.name}: {name}\n{measuring.profile(side.step)}')
        return
    out = Path(args.out) if args.out else None
    known = json.loads(out.read_text())['rows'] if out and out.exists() else {}
    results = dict(known)
    for row in chosen:
        result = results.get(row.name)
        if 'time' in args.measure:
            memory = {name: side['memory'] for name, side in (result or {}).get('sides', {}).items()
                      if 'memory' in side}
            result = run_row(row, args.seconds, report, args.sides, args.clock)
            for name in memory.keys() & result['sides'].keys():
                result['sides'][name]['memory'] = memory[name]
        if 'memory' in args.measure:
            if result is None:
                raise SystemExit(f'{row.name}: --out holds no times of it; measure both')
            for name in measuring.chosen(result['sides'], args.sides):
                result['sides'][name]['memory'] = measuring.measure_memory(row, name)
        results[row.name] = result
        report(render({row.name: result}))
        if out:
            save(out, results)
    table = render({name: results[name] for name in rows if name in results})
    print(table)
    if args.docs:
        write_docs(args.docs, table)


def save(path, results):
    from convnext_dense.analysis.machine import describe_machine
    path.write_text(json.dumps(dict(machine=describe_machine(), rows=results), indent=1) + '\n')


if __name__ == '__main__':
    main()
