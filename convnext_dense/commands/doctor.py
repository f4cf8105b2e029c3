"""Look whether this machine and environment can train, and say what mends what is wrong.

Versions, compiled operators, GPU and driver, memory, folders, the data of a config, and a forward
and backward pass. Exit status: 1 when something stops training.

convnext-dense doctor
convnext-dense doctor mine.py --json
"""
import argparse

MARKS = dict(good='ok', warning='!', bad='x')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', nargs='?', help='look at the data folders of this config, too')
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args: argparse.Namespace) -> int:
    import json

    from convnext_dense.analysis.health import examine
    findings = []
    for finding in examine(args.config):
        findings.append(finding)
        if not args.json:
            print(f'{MARKS[finding.state]:<3}{finding.subject}: {finding.found}', flush=True)
            if finding.advice:
                print(f'   -> {finding.advice}')
    if args.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=1))
    return int(any(finding.state == 'bad' for finding in findings))
