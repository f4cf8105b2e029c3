"""``convnext-dense report``: the page of a work directory, made again."""
import json

from convnext_dense.cli import main


def test_the_page_is_made_from_what_lies_there(tmp_path, capsys):
    folder = tmp_path / '20261127_080000/vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text(json.dumps(dict(loss=2., step=5, iter=5)) + '\n{"lo')
    assert main(['report', str(tmp_path)]) == 0
    page = tmp_path / 'report.html'
    assert capsys.readouterr().out == f'report: {page.as_uri()}\n'
    assert '5 steps' in page.read_text()
    assert main(['report', str(tmp_path), '--out', str(tmp_path / 'a/b.html')]) == 0
    assert (tmp_path / 'a/b.html').read_text().startswith('<!DOCTYPE html>')


def test_what_is_no_training_is_one_line(tmp_path, capsys):
    file = tmp_path / 'file'
    file.write_text('')
    folder = tmp_path / '1/vis_data'
    for arguments, words in (
            ([str(tmp_path / 'gone')], 'no such folder'), ([str(tmp_path)], 'no training wrote'),
            ([str(tmp_path), '--out', str(file / 'x.html')], 'cannot be written')):
        assert main(['report', *arguments]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count('\n') == 1
        folder.mkdir(parents=True, exist_ok=True)
        if words == 'no training wrote':
            (folder / 'scalars.json').write_text('{"loss": 1, "step": 1, "iter": 1}\n')
