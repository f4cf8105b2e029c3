"""The page in a browser, from dropped images to saved files, at two widths, dark and light.

The models find what is annotated in the embedded images, so that what must be seen is known.
"""
import base64
import json
import time

import cv2
import numpy as np
import pytest
from browsing import PHONE, chromium, requested
from pycocotools.mask import encode
from web.standing import OneObject, Truth, standing

from benchmarks.uploads import Upload, encoded
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.web.app import Limits
from convnext_dense.web.serving import ServedModel

NARROW, WIDE = PHONE, 1280
TOKEN = 'a-token-of-20-letters'
#: least contrast of text, of the Web Content Accessibility Guidelines, level AA
CONTRAST = 4.5


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """Folder of three images of 320 pixels a side."""
    folder = tmp_path_factory.mktemp('shapes') / 'data'
    write_shapes(folder, train=1, val=3, size=320)
    return folder


@pytest.fixture(scope='module')
def files(drawn):
    return sorted((drawn / 'images/validation').iterdir())


@pytest.fixture(scope='module')
def detectors(drawn):
    """Two detectors behind a token; the second knows no threshold below 0.5."""
    truth = Truth(drawn, 'instances')

    class Better(Truth):
        def __call__(self, path):
            return super().__call__(path).above(.5)
    with standing([ServedModel('convnext', truth), ServedModel('swin', Better(drawn, 'instances'))],
                  Limits(max_bytes=2**20), token=TOKEN) as server:
        server.truth = truth
        server.page = f'{server.url}?token={TOKEN}'
        yield server


@pytest.fixture(scope='module')
def scenes(drawn):
    """A segmenter."""
    with standing([ServedModel('upernet', Truth(drawn, 'labels'))]) as server:
        server.truth, server.page = Truth(drawn, 'labels'), server.url
        yield server


@pytest.fixture(scope='module', params=[NARROW, WIDE], ids=['narrow', 'wide'])
def browser(request, tmp_path_factory):
    downloads = tmp_path_factory.mktemp('downloads')
    with chromium(request.param, tmp_path_factory.mktemp('profile'), offline=False,
                  downloads=downloads) as browser:
        browser.downloads = downloads
        yield browser


@pytest.fixture
def page(browser, detectors):
    """The page of the detectors, freshly opened, and the saved files removed."""
    return opened(browser, detectors.page)


def opened(browser, url):
    for path in browser.downloads.iterdir():
        path.unlink()
    browser.get(url)
    wait(browser, 'return document.querySelectorAll(".panel").length > 0')
    browser.get_log('browser')
    browser.get_log('performance')
    return browser


def wait(browser, script, *arguments, seconds=30):
    """Wait until a script returns something true; returns that."""
    end = time.monotonic() + seconds
    while not (found := browser.execute_script(script, *arguments)):
        assert time.monotonic() < end, script
        time.sleep(.02)
    return found


def drop(browser, files):
    """Drop files onto the page as a hand does."""
    browser.execute_script('''
        const data = new DataTransfer();
        for (const [name, content] of arguments[0]) {
            const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
            data.items.add(new File([bytes], name));
        }
        const target = document.getElementById('drop');
        for (const kind of ['dragenter', 'dragover', 'drop']) {
            target.dispatchEvent(new DragEvent(
                kind, {dataTransfer: data, bubbles: true, cancelable: true}));
        }''', [[name, base64.b64encode(content).decode()] for name, content in files])


def drop_and_wait(browser, paths):
    drop(browser, [(path.name, path.read_bytes()) for path in paths])
    wait(browser, '''return [...document.querySelectorAll('.state')].every(
        state => state.dataset.state !== 'busy') &&
        [...document.querySelectorAll('.panel')].every(
            panel => panel.querySelector('canvas').offsetWidth);''')


def captions(browser):
    return [text.split(' · ')[0] for text in browser.execute_script(
        'return [...document.querySelectorAll("figcaption")].map(one => one.textContent)')]


def press(browser, *keys):
    from selenium.webdriver import ActionChains
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def set_threshold(browser, value):
    browser.execute_script('''
        const slider = document.getElementById('threshold');
        slider.value = arguments[0];
        slider.dispatchEvent(new Event('input', {bubbles: true}));''', value)


def canvas(browser, number=0):
    """What a panel shows: RGB, (H, W, 3)."""
    data = browser.execute_script(
        'return document.querySelectorAll(".panel canvas")[arguments[0]].toDataURL()', number)
    return cv2.imdecode(np.frombuffer(base64.b64decode(data.split(',')[1]), np.uint8),
                        cv2.IMREAD_COLOR)[:, :, ::-1].astype(int)


def saved(browser, suffix):
    """The only file of a suffix that the page saved."""
    end = time.monotonic() + 20
    while not (found := [path for path in browser.downloads.iterdir() if path.suffix == suffix]):
        assert time.monotonic() < end
        time.sleep(.02)
    time.sleep(.2)
    return found[0]


def edges_in_colour(result, shown, colours):
    """The share of each box's edge that has the class's colour."""
    height, width = shown.shape[:2]
    scale = width / result.image.shape[1]
    shares = []
    for box, label in zip(result.boxes, result.labels):
        left, top, right, bottom = np.clip(np.round(box * scale).astype(int), 0, [
            width - 1, height - 1, width - 1, height - 1])
        sides = [shown[top, left:right], shown[bottom, left:right], shown[top:bottom, left],
                 shown[top:bottom, right]]
        near = np.abs(np.concatenate(sides) - colours[label]).max(1) < 60
        shares.append(near.mean())
    return shares


def test_dropped_images_show_boxes_above_the_threshold(page, detectors, files):
    drop_and_wait(page, files[:1])
    result = detectors.truth(str(files[0]))
    above = result.above(.3)
    assert 2 <= len(above) < len(result)
    assert captions(page)[0] == f'{len(above)} of {len(result)} objects'
    colours = [np.array(colour)[::-1] for colour in result.colours]
    # names lie over a part of the edges
    assert min(edges_in_colour(above, canvas(page), colours)) > .4
    set_threshold(page, 1)
    assert captions(page)[0] == f'0 of {len(result)} objects'
    plain = canvas(page)
    expected = cv2.resize(result.image[:, :, ::-1], plain.shape[1::-1]).astype(int)
    assert np.abs(plain - expected).mean() < 6


def test_the_threshold_moves_without_a_new_inference(page, detectors, files):
    drop_and_wait(page, files[:1])
    assert len([url for url in requested(page) if '/api/predict' in url]) == 2
    result = detectors.truth(str(files[0]))
    page.execute_script('document.getElementById("threshold").focus()')
    from selenium.webdriver.common.keys import Keys
    seen = set()
    for _ in range(30):
        press(page, Keys.ARROW_RIGHT)
        value = float(page.execute_script('return document.getElementById("threshold").value'))
        count = int((result.scores >= np.float32(value)).sum())
        assert captions(page)[0] == f'{count} of {len(result)} objects'
        seen.add(count)
    assert len(seen) > 1 and value == pytest.approx(.6)
    assert not requested(page)


def test_two_models_stand_side_by_side_where_there_is_room(page, files):
    drop_and_wait(page, files[:1])
    first, second = page.execute_script('''return [...document.querySelectorAll('.panel')].map(
        panel => panel.getBoundingClientRect().toJSON())''')
    assert page.execute_script('return [...document.querySelectorAll(".panel h2")].map('
                               'one => one.textContent)') == ['convnext', 'swin']
    if page.width == WIDE:
        assert first['top'] == second['top'] and first['right'] <= second['left']
    else:
        assert first['left'] == second['left'] and first['bottom'] <= second['top']
    assert page.execute_script('return document.documentElement.scrollWidth') <= page.width
    shown = page.execute_script('''return [...document.querySelectorAll(
        'canvas, button, input, li, h1, h2, output')].filter(
            one => one.offsetWidth > 2 && !one.closest('#images'))
        .map(one => one.getBoundingClientRect().toJSON())''')
    assert all(0 <= box['left'] and box['right'] <= page.width + 1 for box in shown)


def test_the_json_has_the_objects_that_are_shown(page, detectors, files):
    drop_and_wait(page, files[:1])
    set_threshold(page, .6)
    page.execute_script('document.querySelector(".save-json").click()')
    path = saved(page, '.json')
    content = json.loads(path.read_text())
    above = detectors.truth(str(files[0])).above(.6)
    assert path.name == f'{files[0].stem}.convnext.json'
    assert [one['score'] for one in content['objects']] == above.scores.tolist()
    assert [one['box'] for one in content['objects']] == above.boxes.tolist()
    assert content['threshold'] == .6 and 'preview' not in content


def test_the_image_is_saved_in_its_own_size_as_it_is_shown(page, detectors, files):
    drop_and_wait(page, files[:1])
    page.execute_script('document.querySelector(".save-image").click()')
    path = saved(page, '.png')
    shown = cv2.imread(str(path))[:, :, ::-1].astype(int)
    result = detectors.truth(str(files[0]))
    assert shown.shape == (320, 320, 3)
    colours = [np.array(colour)[::-1] for colour in result.colours]
    assert min(edges_in_colour(result.above(.3), shown, colours)) > .4


def test_a_class_is_hidden_by_its_entry_in_the_legend(page, detectors, files):
    drop_and_wait(page, files[:1])
    result = detectors.truth(str(files[0]))
    above = result.above(.3)
    name = page.execute_script('''
        const box = document.querySelector('.legend input');
        box.click();
        return box.parentElement.querySelector('.name').textContent;''')
    left = len(above) - above.class_names.count(name)
    assert captions(page)[0] == f'{left} of {len(result)} objects'


def test_everything_is_reached_and_used_by_the_keyboard(page, files):
    """From the file input, by Tab, to every control; Space and Enter use them."""
    from selenium.webdriver.common.keys import Keys
    page.execute_script('document.body.focus()')
    press(page, Keys.TAB)
    assert page.switch_to.active_element.get_attribute('id') == 'files'
    page.switch_to.active_element.send_keys('\n'.join(map(str, files)))
    drop_and_wait(page, [])
    reached = []
    for _ in range(60):
        press(page, Keys.TAB)
        what, outline = page.execute_script('''
            const one = document.activeElement;
            const seen = one.id === 'files' ? one.parentElement : one;
            return [one.id || one.className || one.closest('[id], [class]').className ||
                    one.closest('[id]').id, getComputedStyle(seen).outlineStyle];''')
        reached.append(what)
        if one_is(page, '#images button') and reached.count(what) == 2:
            press(page, Keys.ENTER)
        if what == 'names':
            press(page, Keys.SPACE)
        if what == 'save-json':
            press(page, Keys.ENTER)
            break
        assert outline != 'none', what
    assert {'clear', 'threshold', 'opacity', 'names'} <= set(reached)
    assert page.execute_script('return document.getElementById("names").checked') is False
    assert page.execute_script('''return [...document.querySelectorAll('#images button')].map(
        one => one.getAttribute('aria-current'))''') == ['false', 'true', 'false']
    assert saved(page, '.json').name == f'{files[1].stem}.convnext.json'


def one_is(browser, selector):
    return browser.execute_script('return document.activeElement.matches(arguments[0])', selector)


def test_what_is_drawn_is_also_said(page, detectors, files):
    drop_and_wait(page, files[:1])
    best = detectors.truth(str(files[0]))
    said = page.execute_script('return document.querySelector("canvas").ariaLabel')
    assert said.startswith(f'{files[0].name}: {best.class_names[0]} 0.95, ')
    assert page.execute_script(
        'return [...document.querySelectorAll("button, input")].every('
        'one => one.textContent.trim() || one.labels?.[0]?.textContent.trim())')


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_text_can_be_read_in_the_dark_and_in_the_light(page, files, scheme):
    page.execute_cdp_cmd('Emulation.setEmulatedMedia', dict(
        features=[dict(name='prefers-color-scheme', value=scheme)]))
    drop(page, [('bad.jpg', b'no image')])
    drop_and_wait(page, files[:1])
    press_first = 'document.querySelector("#images button").click()'
    for script in ('', press_first):  # the image, and the message of the one that is none
        page.execute_script(script)
        found = page.execute_script(TEXTS)
        assert len(found) > 8
        background = page.execute_script('return getComputedStyle(document.body).backgroundColor')
        assert (sum(rgb(background)) < 300) == (scheme == 'dark')
        for words, colour, behind, size in found:
            assert contrast(rgb(colour), rgb(behind)) >= CONTRAST, (words, colour, behind)
            assert size >= 12, words


#: words, their colour, that behind them and their size, of all that can be seen
TEXTS = '''
const found = [];
for (const one of document.querySelectorAll('body *')) {
    const words = [...one.childNodes].filter(node => node.nodeType === 3)
        .map(node => node.textContent.trim()).join('');
    if (!words || !one.checkVisibility() || one.closest('.hidden, noscript, script')) continue;
    let behind = one;
    while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)')
        behind = behind.parentElement;
    const style = getComputedStyle(one);
    found.push([words, style.color, getComputedStyle(behind).backgroundColor,
                parseFloat(style.fontSize)]);
}
return found;'''


def rgb(colour):
    return [float(part) for part in colour.split('(')[1].rstrip(')').split(',')[:3]]


def contrast(one, other):
    """The ratio of two colours' luminances, as the guidelines define it."""
    def luminance(colour):
        parts = np.array(colour) / 255
        linear = np.where(parts <= .04045, parts / 12.92, ((parts + .055) / 1.055)**2.4)
        return linear @ [.2126, .7152, .0722]
    low, high = sorted([luminance(one), luminance(other)])
    return (high + .05) / (low + .05)


def test_a_bad_upload_is_named_and_the_others_are_shown(page, files):
    drop(page, [('letter.jpg', b'no image')])
    drop(page, [('large.png', bytes(2**20 + 1))])
    drop_and_wait(page, files[:1])
    messages = []
    for number in range(2):
        page.execute_script('document.querySelectorAll("#images button")[arguments[0]].click()',
                            number)
        messages.append(page.execute_script(
            'return document.querySelector(".panel .message.bad").textContent'))
    assert messages[0].startswith('letter.jpg is no image that is taken here')
    assert messages[1].startswith('large.png has 1.0 MiB, more than the 1 that')
    assert page.execute_script('return [...document.querySelectorAll(".state")].map('
                               'one => one.dataset.state)') == ['bad', 'bad', 'done']


def test_images_are_removed(page, files):
    drop_and_wait(page, files)
    page.execute_script('document.getElementById("clear").click()')
    assert page.execute_script('return document.getElementById("work").hidden')
    drop_and_wait(page, files[:1])
    assert captions(page)[0]


def test_nothing_is_fetched_from_elsewhere_and_nothing_fails(page, detectors, files):
    page.get(detectors.page)
    wait(page, 'return document.querySelectorAll(".panel").length > 0')
    drop_and_wait(page, files)
    urls = requested(page)
    assert urls and all(url.startswith((detectors.url, 'blob:', 'data:')) for url in urls)
    assert page.get_log('browser') == []
    # the token does not stay in the address
    assert page.current_url == detectors.url


def test_a_segmentation_has_a_legend_with_shares(browser, scenes, files):
    page = opened(browser, scenes.page)
    drop_and_wait(page, files[:1])
    result = scenes.truth(str(files[0]))
    legend = page.execute_script('''return [...document.querySelectorAll('.legend li')].map(
        one => [one.querySelector('.name').textContent, one.querySelector('.amount').textContent,
                getComputedStyle(one.querySelector('.swatch')).backgroundColor])''')
    order = [label for label in np.argsort(-result.pixels, kind='stable') if result.pixels[label]]
    assert [name for name, _, _ in legend] == [result.names[label] for label in order]
    for (_, amount, colour), label in zip(legend, order):
        assert float(amount.split()[0]) == pytest.approx(
            100 * result.pixels[label] / result.labels.size, abs=.51)
        assert rgb(colour) == list(result.colours[label])[::-1]
    assert not page.execute_script('return document.getElementById("threshold").checkVisibility()')
    page.execute_script('''
        document.getElementById('names').click();
        const slider = document.getElementById('opacity');
        slider.value = 1;
        slider.dispatchEvent(new Event('input'));''')
    shown = canvas(page)
    labels = cv2.resize(result.labels, shown.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    colours = np.array(result.colours)[:, ::-1][labels]
    assert (np.abs(shown - colours).max(2) < 12).mean() > .95  # but for borders


def test_what_lies_under_the_pointer_is_named(browser, scenes, files):
    from selenium.webdriver import ActionChains
    page = opened(browser, scenes.page)
    drop_and_wait(page, files[:1])
    result = scenes.truth(str(files[0]))
    element = page.find_element('css selector', 'canvas')
    page.execute_script('arguments[0].scrollIntoView({block: "center"})', element)
    ActionChains(page).move_to_element(element).perform()
    label = result.labels[160, 160]
    assert captions(page)[0].startswith(f'{result.names[label]} ')


def test_masks_are_read_as_pycocotools_writes_them(page):
    """Random masks, at their size and at others, by the pixel at the middle."""
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 5), (48, 64), (101, 33), (3, 200), (200, 3)):
        for share in (0, .02, .5, .98, 1):
            mask = (rng.random((height, width)) < share).astype(np.uint8)
            rle = encode(np.asfortranarray(mask))
            for scale in (1, .37, 2.5):
                size = max(round(height * scale), 1), max(round(width * scale), 1)
                read = page.execute_async_script(READ, dict(
                    size=[height, width], counts=rle['counts'].decode()), *size)
                rows, columns = (
                    np.minimum(((np.arange(to) + .5) * side / to).astype(int), side - 1)
                    for to, side in zip(size, (height, width)))
                np.testing.assert_array_equal(np.reshape(read, size[::-1]).T,
                                              mask[np.ix_(rows, columns)])


READ = '''
const [mask, height, width, done] = arguments;
import('/static/masks.js').then(({stretches}) => {
    const read = new Uint8Array(height * width);
    const parts = stretches(mask, width, height);
    for (let at = 0; at < parts.length; at += 3)
        read.fill(1, parts[at] * height + parts[at + 1], parts[at] * height + parts[at + 2]);
    done([...read]);
});'''


def test_a_busy_server_is_asked_again(browser, files):
    """One place: of two images one waits on the page, and both are predicted."""
    class Slow(OneObject):
        def __call__(self, path):
            time.sleep(.3)
            return super().__call__(path)
    with standing([ServedModel('slow', Slow())], Limits(queue=0)) as server:
        from benchmarks.uploads import ask
        page = opened(browser, server.url)
        import threading
        others = [threading.Thread(target=ask, args=(server.url, Upload(
            'other.png', encoded(np.zeros((9, 9, 3), np.uint8), 'PNG'), ()))) for _ in range(3)]
        for thread in others:
            thread.start()
        drop_and_wait(page, files[:2])
        for thread in others:
            thread.join()
        assert captions(page) == ['1 of 1 objects']
        assert page.execute_script('return [...document.querySelectorAll(".state")].map('
                                   'one => one.dataset.state)') == ['done', 'done']


def test_a_server_that_ended_is_said(browser, files):
    with standing([ServedModel('one', OneObject())]) as server:
        page = opened(browser, server.url)
    drop(page, [(files[0].name, files[0].read_bytes())])
    message = wait(page, 'return document.querySelector(".panel .message.bad")?.textContent')
    assert message == 'The server does not answer. Is it still running?'
