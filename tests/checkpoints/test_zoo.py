"""The published weights by name, against the published facts, the configs and a local server."""
import hashlib
import io
import re
from pathlib import Path

import peers
import pytest
import torch
from broken_server import serving
from tiny_weights import convnext, convnext_file, official_state

from convnext_dense.checkpoints import fetching, load_weights, zoo
from convnext_dense.errors import InputError
from convnext_dense.published import load_published, published_rows

CONFIGS = Path(__file__).parents[2] / 'configs'


def spelled_out(text):
    """``a{b,c}`` as ``ab``, ``ac``, for every brace."""
    found = re.search(r'\{([^{}]*)\}', text)
    if not found:
        return [text]
    return [name for part in found[1].split(',')
            for name in spelled_out(text[:found.start()] + part + text[found.end():])]


def published_names(key):
    """File names in an entry of published.yaml's checkpoints."""
    text = load_published()['checkpoints'][key]
    return {Path(name).name for part in re.findall(r'[^\s;"]+\{.*?\}[^\s;"]*\.pth?', text)
            for name in spelled_out(part)}


@pytest.mark.parametrize('key', ['v1_in1k', 'v2_fcmae', 'coco', 'ade20k', 'swin_backbones',
                                 'swin_ade20k'])
def test_every_published_file_has_a_name(key):
    names = published_names(key)
    assert len(names) >= 3
    assert names <= {Path(entry.url).name for entry in zoo.entries().values()}


def test_names_are_unique_and_say_what_they_are():
    entries = zoo.entries()
    assert len({entry.url for entry in entries.values()}) == len(entries)
    assert {name.split('_')[0] for name in entries if '_' in name} >= {
        'convnext-tiny', 'convnextv2-huge', 'swin-large', 'cascade-mask-rcnn', 'upernet'}
    assert zoo.entry('convnext-tiny_in1k').url == \
        'https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224_ema.pth'


def test_licences_are_the_published_ones():
    licences = load_published()['checkpoints']['licences']
    for name, entry in zoo.entries().items():
        if 'fbaipublicfiles' not in entry.url and entry.config and 'SwinTransformer' not in \
                entry.url:
            assert entry.licence == (licences['v2_weights'] if 'v2' in name else 'Apache-2.0')
            continue  # detrex's and OpenMMLab's files
        if name.endswith(('_dinov3', '_clip-laion2b', 'in12k')):
            continue  # see test_todays_entries_are_timm_s
        if name.startswith('dino-'):
            assert entry.licence == 'Apache-2.0'
            continue
        if name.endswith('_eupe'):
            assert entry.licence == 'FAIR Noncommercial Research License'
            continue
        assert entry.licence == (licences['v2_weights'] if 'convnextv2' in name else
                                 licences['v1'])


def test_detectors_reach_what_their_row_says_and_fit_their_config():
    from convnext_dense.config import load_config
    rows = published_rows()
    models = [entry for entry in zoo.entries().values() if entry.config]
    # ConvNeXt's COCO and ADE20K files, Swin's, DINO, Mask2Former, RTMDet and V2's
    assert len(models) == 7 + 6 + 5 + 3 + 12 + 12 + 3
    for entry in models:
        row = rows[load_config(str(CONFIGS / entry.config)).published]
        assert entry.reaches == {key: row[key] for key in zoo.FIGURES
                                 if key in row}


def test_every_backbone_that_a_config_names_is_in_the_zoo():
    known = {entry.url for entry in zoo.entries().values()}
    urls = set()
    for path in CONFIGS.glob('*/*.py'):
        for parts in re.findall(r"checkpoint=((?:\s*'[^']*')+)", path.read_text()):
            urls.add(''.join(re.findall(r"'([^']*)'", parts)))
    urls = {url for url in urls if url.startswith('http')}
    assert len(urls) > 10 and urls <= known


def test_an_unknown_name_gets_similar_ones():
    with pytest.raises(InputError, match='convnext-tinny_in1k: neither a file nor the name of '
                                         'published weights; similar names: convnext-tiny_in1k'):
        load_weights(convnext(), 'convnext-tinny_in1k')
    with pytest.raises(InputError, match='no such file'):
        fetching.locate('folder/weights.pth')


def test_openmmlab_s_names_of_resnets_are_known():
    assert fetching._url('torchvision://resnet50').endswith('/resnet50-0676ba61.pth')
    assert fetching._url('open-mmlab://resnext101_64x4d').endswith('/resnext101_64x4d-ee2c6f71.pth')
    with pytest.raises(InputError, match='torchvision://resnet51: .* similar: resnet50'):
        fetching.locate('torchvision://resnet51')


# -- downloads -----------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub' / 'checkpoints'


@pytest.fixture
def server(tmp_path):
    path = tmp_path / 'source.pth'
    torch.save(convnext_file('timm', 'v2'), path)
    with serving(path.read_bytes()) as server:
        yield server


def test_a_url_is_fetched_once_into_torch_hub_s_cache(server, cache):
    url = f'{server.url}/weights.pth'
    for _ in range(2):
        report = load_weights(convnext('v2'), url)
        assert report.format == 'timm'
    assert len(server.requests) == 1
    names = sorted(path.name for path in cache.iterdir())
    assert len(names) == 2 and names[1] == names[0] + '.json'
    assert re.fullmatch(r'weights\.[0-9a-f]{8}\.pth', names[0])


def test_a_broken_download_goes_on_and_a_torn_file_never_has_the_name(server, cache, monkeypatch):
    monkeypatch.setattr('convnext_dense.download.time.sleep', lambda seconds: None)
    server.breaks = (1000, 0, 0, 0)
    with pytest.raises(InputError, match='1000 bytes are kept'):
        load_weights(convnext('v2'), f'{server.url}/weights.pth')
    assert not list(cache.glob('weights*.pth'))
    load_weights(convnext('v2'), f'{server.url}/weights.pth')
    assert server.requests[-1]['Range'] == 'bytes=1000-'


def test_a_hash_in_the_name_is_checked(server, cache):
    with pytest.raises(InputError, match='its sha256 is .*, expected 0123456789abcdef'):
        load_weights(convnext('v2'), f'{server.url}/weights-0123456789abcdef.pth')
    assert not (cache / 'weights-0123456789abcdef.pth').exists()


@pytest.mark.parametrize('licence', [zoo.NON_COMMERCIAL, zoo.FAIR_LICENCE])
def test_a_name_works_in_init_cfg_and_non_commercial_weights_say_so_once(
        licence, server, cache, monkeypatch):
    entry = zoo.Entry('convnextv2-test_fcmae', f'{server.url}/test_fcmae.pt', licence)
    entries = dict(zoo.entries(), **{entry.name: entry})
    monkeypatch.setattr(zoo, 'entries', lambda: entries)
    lines = []
    monkeypatch.setattr('mmengine.logging.print_log', lambda text, **kwargs: lines.append(text))
    fetching._announce_licence.cache_clear()
    for _ in range(2):
        model = convnext('v2', init_cfg=dict(type='Pretrained', checkpoint=entry.name))
        model.init_weights()
    assert torch.equal(model.state_dict()['stages.0.0.grn.gamma'],
                       official_state('v2')['stages.0.0.grn.gamma'])
    assert [line for line in lines if licence in line] == [
        f'test_fcmae.pt: these weights are licensed {licence}: no commercial use']


def test_an_offline_machine_is_told_the_file_and_its_place(cache, monkeypatch):
    entry = zoo.Entry('offline', 'http://name.invalid/weights.pth')
    monkeypatch.setattr(zoo, 'entries', lambda: {entry.name: entry})
    with pytest.raises(InputError, match=rf'offline\? fetch http://name.invalid/weights.pth by '
                                         rf'other means and put it at {cache}/weights.pth'):
        load_weights(convnext(), 'offline')
    torch.save(official_state(), cache / 'weights.pth')
    load_weights(convnext(), 'offline')


def test_two_urls_with_one_file_name_are_two_files(server, cache, tmp_path):
    other = tmp_path / 'other.pth'
    torch.save(convnext_file('official', 'v1'), other)
    server.files['/runB/best.pth'] = other.read_bytes()
    assert load_weights(convnext('v2'), f'{server.url}/runA/best.pth').format == 'timm'
    assert load_weights(convnext('v1'), f'{server.url}/runB/best.pth').format == 'official'
    assert len(list(cache.glob('best.*.pth'))) == 2


def test_the_first_fetch_pins_the_hash(server, cache):
    url = f'{server.url}/weights.pth'
    path = fetching.locate(url)
    path.unlink()
    server.body = changed(server.body)
    with pytest.raises(InputError, match=f'{url}: its sha256 is .*, expected'):
        fetching.locate(url)
    assert not path.exists()
    path.write_bytes(b'cut')
    with pytest.raises(InputError, match='has 3 bytes, but .* when it was fetched; delete it'):
        fetching.locate(url)


def changed(body):
    """The same checkpoint with other weights."""
    state = torch.load(io.BytesIO(body))
    file = io.BytesIO()
    torch.save({key: value + 1 for key, value in state.items()}, file)
    return file.getvalue().ljust(len(body), b'x')[:len(body)]


@pytest.mark.parametrize('damage', [lambda body: body[:len(body) // 2],
                                    lambda body: body[:5000] + b'xxxx' + body[5004:]])
def test_a_damaged_body_without_a_length_is_no_file(server, cache, damage):
    server.body, server.length = damage(server.body), False
    with pytest.raises(InputError, match='it was damaged on the way'):
        load_weights(convnext('v2'), f'{server.url}/weights.pth')
    assert not list(cache.glob('*.pth'))


def test_todays_entries_are_timm_s():
    """Licence and pixels as timm has them for its copies of the same weights."""
    peers.import_timm()
    from timm.models.convnext import default_cfgs
    licences = {'apache-2.0': 'Apache-2.0', 'dinov3-license': 'DINOv3 License'}
    checked = 0
    for name, entry in zoo.entries().items():
        if name.endswith('_dinov3'):
            arch, tag = name.split('_')[0].replace('-', '_'), 'dinov3_lvd1689m'
        elif name.endswith(('_clip-laion2b', 'in12k')):
            arch, tag = entry.url.split('/')[4].split('.')
        else:
            continue
        config = default_cfgs[arch].cfgs[tag]
        assert licences[config.license] == entry.licence
        for own, theirs in ((entry.mean, config.mean), (entry.std, config.std)):
            assert own == pytest.approx([255 * value for value in theirs], abs=.01)
        checked += 1
    assert checked == 11


def test_dinov3_is_put_by_hand_and_its_hash_is_checked(cache, tmp_path, monkeypatch):
    name = 'convnext-tiny_dinov3'
    with pytest.raises(InputError, match=r'given to whoever accepts its licence \(DINOv3 License\) '
                                         'at https://ai.meta.com.* or set CONVNEXT_DENSE_WEIGHTS'):
        load_weights(convnext(), name)
    path = tmp_path / 'dinov3_convnext_tiny_pretrain_lvd1689m-21b726bb.pth'
    torch.save(official_state(), path)
    monkeypatch.setenv('CONVNEXT_DENSE_WEIGHTS', str(tmp_path))
    for source in (name, path, str(path)):
        with pytest.raises(InputError, match='its sha256 is .*, expected 21b726bb'):
            load_weights(convnext(), source)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    entry = zoo.entry(name)._replace(url=f'dinov3-{digest}.pth')
    monkeypatch.setattr(zoo, 'entries', lambda: {name: entry})
    path.rename(tmp_path / entry.url)
    assert load_weights(convnext(), name).format == 'official'
    assert fetching.find(entry) == tmp_path / entry.url


def test_every_entry_has_its_own_file_in_the_cache():
    names = [zoo.cache_name(entry.url) for entry in zoo.entries().values()]
    assert len(set(names)) == len(names)
