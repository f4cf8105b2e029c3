"""What a training writes down for its report: whole lines of the run that started last."""
import json

from convnext_dense.analysis.run_report.record import Record, read_record

START = dict(log='20261127_080000', step=0, facts={}, rates=['neck'])


def test_a_run_reads_what_it_wrote(tmp_path):
    record = Record(tmp_path, 'abc')
    record.append('start', **START)
    record.append('rates', step=10, rates=[.1], memory=100.)
    assert [line['kind'] for line in read_record(tmp_path)] == ['start', 'rates']


def test_a_new_run_in_the_folder_begins_anew_and_a_resumed_one_goes_on(tmp_path):
    for run, step in (('first', 10), ('second', 20), ('second', 30)):
        record = Record(tmp_path, run)
        record.append('start', **START)
        record.append('rates', step=step, rates=[.1], memory=1)
    assert [line['step'] for line in read_record(tmp_path)] == [0, 20, 0, 30]


def test_a_torn_line_is_passed_over_and_does_not_spoil_the_next(tmp_path):
    record = Record(tmp_path, 'abc')
    record.append('start', **START)
    with open(record.path, 'a') as file:
        file.write('{"kind": "rates", "run": "abc", "st')
    record.append('skipped', step=4, problem='NaN')
    assert [line['kind'] for line in read_record(tmp_path)] == ['start', 'skipped']


def test_lines_of_another_kind_are_passed_over(tmp_path):
    record = Record(tmp_path, 'abc')
    record.append('start', **START)
    with open(record.path, 'a') as file:
        for line in ('[]', '3', '[' * 10000, *map(json.dumps, (
                dict(kind='rates', run='abc', step='1'), dict(kind=[], run='abc'),
                dict(kind='rates', run='abc', step=1, rates=[], memory=float('nan')),
                dict(kind='end', run=1)))):
            file.write(line + '\n')
        file.write('\udcff'.encode('utf-8', 'surrogatepass').decode('latin-1') + '\n')
    assert [line['kind'] for line in read_record(tmp_path)] == ['start']


def test_where_nothing_was_written_there_is_nothing(tmp_path):
    assert read_record(tmp_path) == []
    record = Record(tmp_path, 'abc')
    record.append('rates', step=10, rates=[], memory=0)
    assert read_record(tmp_path) == []  # no start
